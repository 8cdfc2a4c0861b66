"""kdjax report: its arguments."""

from pathlib import Path


def add(command) -> None:
    sub = command(
        "report",
        _report,
        "write experiments as one HTML file: tables, pictures, protocol, what the doctor says, configs, runs",
    )
    sub.add_argument("runs", nargs="+", help="experiment directories, a runs.jsonl, or a folder of experiments")
    sub.add_argument("--out", default="report.html", help="the file to write (default: report.html)")
    sub.add_argument("--title", default="", help="what stands on top (default: the experiments' names)")


def _report(args, _) -> None:
    from kdjax.report import page
    from kdjax.runs import gather

    inside = [gather.experiments(path) if gather.is_folder(path) else [path] for path in args.runs]
    read = {path: gather.read(path) for paths in inside for path in paths}
    runs = [line for lines in read.values() for line in lines]
    sources = {line["config"]["experiment"]: Path(path) for path, lines in read.items() for line in lines}
    sources = {name: path for name, path in sources.items() if path.is_dir()}
    written = page.write(runs, args.out, args.title, sources=sources)
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB, opens in any browser, offline")
