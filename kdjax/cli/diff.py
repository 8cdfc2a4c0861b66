"""kdjax diff: its arguments and what it prints."""


def add(command) -> None:
    sub = command("diff", _diff, "tell in which fields, rows and numbers two experiments or two runs differ")
    sub.add_argument("a", help="an experiment's directory, a runs.jsonl, or the directory of a run")
    sub.add_argument("b", help="another of its kind")


def _diff(args, _) -> None:
    from rich.console import Console

    from kdjax import tables
    from kdjax.report import diff

    found = diff.of(args.a, args.b)
    console = Console(highlight=False)
    for side, name in zip(diff.SIDES, found.names, strict=True):
        console.print(f"{side}: {name}", markup=False, soft_wrap=True)
    for grid in found.grids:
        console.print(tables.terminal(grid.header, grid.rows, wrapped=False))
    for note in found.notes:
        console.print(note, markup=False)
