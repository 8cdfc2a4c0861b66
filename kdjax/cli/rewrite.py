"""kdjax rewrite: its arguments, and the file of new texts that it writes."""

from pathlib import Path

from kdjax.cli.run import config_here


def add(command) -> None:
    sub = command(
        "rewrite",
        _rewrite,
        "write training texts anew with words that a pretrained language head proposes, for config.data.transfer",
        usage="kdjax rewrite [--config=]FILE[:key=value,...] [--config.field=value ...] --encoder=FOLDER --out=TEXTS",
    )
    sub.add_argument("--config", default="", help="of the experiment whose training texts they are")
    sub.add_argument("--encoder", required=True, help="a Hugging Face folder of a BertForMaskedLM and its tokenizer")
    sub.add_argument("--copies", type=int, default=4, help="new texts of each, at most (default: 4)")
    sub.add_argument("--p", type=float, default=0.4, help="share of the words that are replaced (default: 0.4)")
    sub.add_argument("--top", type=int, default=15, help="proposals of which one is drawn (default: 15)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help="the file, a text a line; of pairs two with a tab between")


def _rewrite(args, rest) -> None:
    from kdjax.training import parallel

    parallel.setup()
    from kdjax import tasks
    from kdjax.config.fields import resolve
    from kdjax.data import loading
    from kdjax.data.text import rewrite, texts
    from kdjax.files import write_text

    config = resolve(config_here(args, rest))
    if not args.out.endswith(".txt"):
        raise ValueError(f"--out {args.out!r}: a file of texts, one a line, ends in .txt")
    train = loading.read(config.data, tasks.named(config.task)).train.input
    if not isinstance(train, texts.Texts):
        raise ValueError(f"config.data.source {config.data.source!r} has no texts to write anew")
    chosen = {name: getattr(args, name) for name in ("copies", "p", "top", "seed")}
    found = rewrite.rewritten(train, args.encoder, **chosen)
    write_text(Path(args.out), "".join("\t".join(parts) + "\n" for parts in found))
    print(
        f"{len(found):,} new texts of {len(train):,} are in {args.out}; rows with data.unlabelled learn from them with"
    )
    print(f"  --config.data.transfer={args.out}")
