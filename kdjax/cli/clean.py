"""kdjax clean: its arguments, what it says, what it asks."""

import sys

from kdjax.files import megabytes


def add(command) -> None:
    sub = command("clean", _clean, "free what finished runs keep on disk and nothing needs; asks before it does")
    sub.add_argument("runs", nargs="+", help="experiment directories, or a folder of them")
    sub.add_argument("--keep", choices=("last",), default="last", help="the last checkpoint of every run (default)")
    sub.add_argument("--dry-run", action="store_true", help="say what would go, and leave it")
    sub.add_argument("--yes", action="store_true", help="do not ask")


def _clean(args, _) -> int:
    from kdjax.experiment import clean

    parts = [clean.find(path) for path in args.runs]
    spares = [spare for found, _ in parts for spare in found]
    for said in (text for _, why in parts for text in why):
        print(said)
    for spare in spares:
        print(f"{spare.run.path}: {spare.what}, {megabytes(spare.bytes)}")
    if not spares:
        print("nothing to free: every finished run has its last checkpoint alone, and unfinished ones keep theirs")
        return 0
    print(f"{megabytes(sum(spare.bytes for spare in spares))} in {len(spares)} runs; tables, predictions, exports and")
    print("runs that are taught by these stay possible")
    if args.dry_run:
        return 0
    if not args.yes and not _agreed():
        print("nothing was removed")
        return 0
    left = [why for spare in spares if (why := clean.remove(spare))]
    print(*left, f"freed {len(spares) - len(left)} of {len(spares)}", sep="\n")
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ValueError("nobody is here to ask: --yes removes it, --dry-run only says what would go")
    return input("Remove it? [y/N] ").strip().lower() in ("y", "yes")
