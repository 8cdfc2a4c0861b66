"""kdjax doctor, explain and choose: why, what was passed on, and which to take."""


def add(command) -> None:
    sub = command("doctor", _doctor, "tell why distillation did not help: what explains it, and what to try")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--out", help="write doctor.md here")
    sub = command("explain", _explain, "tell what a method passed on: classes, examples, confidence, order, stages")
    sub.add_argument("run", help="the directory of an experiment, runs/digits")
    sub.add_argument("method", help="the row to explain, kd")
    sub.add_argument("--against", default="", help="the row to compare with (default: the baseline)")
    sub.add_argument("--out", help="where the page and its pictures go (default: RUN/explain-METHOD)")
    sub.add_argument("--no-stages", action="store_true", help="leave out how alike stages are, which needs checkpoints")
    sub = command(
        "choose", _choose, "find the smallest student that keeps enough of its teacher, and how it is exported"
    )
    sub.add_argument("runs", nargs="+", help="experiment directories, or a runs.jsonl")
    sub.add_argument("--keep", type=float, default=0.95, help="share of the teacher's score (default: 0.95)")
    sub.add_argument("--metric", default="", help="the score, f1 (default: what methods are compared by)")
    sub.add_argument("--max-kb", type=float, help="at most so many kilobytes, of 1000 bytes")
    sub.add_argument("--max-ms", type=float, help="at most so many milliseconds for one example")
    sub.add_argument("--max-mflops", type=float, help="at most so many million FLOPs for one example")
    sub.add_argument("--sizes", nargs="*", default=(), help="sizes.csv of kdjax sizes; one beside the runs is found")
    sub.add_argument("--out", help="write choose.md, choose.csv and the picture here")


def _doctor(args, _) -> None:
    from kdjax.report import doctor

    doctor.main(args)


def _explain(args, _) -> None:
    from kdjax.report import explain

    explain.main(args, None if args.no_stages else _similar, _shown)


def _similar(subject) -> dict | None:
    """How alike stages are; None where a run has left no checkpoint."""
    from kdjax.runs.directory import Run

    if not all(Run(path).checkpoints.is_dir() for path in subject.paths.values()):
        return None
    from kdjax.training import parallel

    parallel.setup()
    from kdjax.ship import similarity

    return similarity.similar(**subject.paths)


def _shown(run, examples) -> dict | str:
    """What examples look like; why nobody knows, where the data cannot be read here."""
    from kdjax.ship import shown

    try:
        return shown.shown(run, examples)
    except (ValueError, OSError) as error:
        return f"they could not be read again ({error})"


def _choose(args, _) -> None:
    from kdjax.report import choose

    choose.main(args)
