"""kdjax track: its arguments."""


def add(command) -> None:
    from kdjax.report import track

    sub = command("track", _track, "hand the rows of metrics.jsonl on to a tracker")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--to", required=True, help=f"{' or '.join(track.TRACKERS)}, with a place: tensorboard:logs")


def _track(args, _) -> None:
    from kdjax.report import track
    from kdjax.runs import gather

    lines = [line for path in args.runs for line in gather.read(path)]
    runs, rows, place = track.send(lines, args.to)
    print(f"{rows} rows of {runs} runs are in {place}")
