"""kdjax report: its arguments."""


def add(command) -> None:
    sub = command("report", _report, "write experiments as one HTML file: tables to sort, pictures, protocol, configs")
    sub.add_argument("runs", nargs="+", help="experiment directories, a runs.jsonl, or a folder of experiments")
    sub.add_argument("--out", default="report.html", help="the file to write (default: report.html)")
    sub.add_argument("--title", default="", help="what stands on top (default: the experiments' names)")


def _report(args, _) -> None:
    from kdjax.report import page
    from kdjax.runs import gather

    inside = [gather.experiments(path) if gather.is_folder(path) else [path] for path in args.runs]
    runs = [line for paths in inside for path in paths for line in gather.read(path)]
    written = page.write(runs, args.out, args.title)
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB, opens in any browser, offline")
