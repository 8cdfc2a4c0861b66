"""kdjax cite: its arguments."""


def add(command) -> None:
    sub = command("cite", _cite, "print the BibTeX of the methods of experiments, or of methods by name")
    sub.add_argument("what", nargs="+", help="experiment directories, a runs.jsonl, or names of methods: kd dkd")


def _cite(args, _) -> None:
    from kdjax.report import cite

    print(cite.bibtex(cite.losses_of(args.what)), end="")
