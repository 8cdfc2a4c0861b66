"""kdjax embed: a catalogue of one's own texts or photographs, by an exported encoder; needs no JAX."""

from pathlib import Path

import numpy as np

from kdjax.data.text.texts import refuse
from kdjax.ship import asked, catalogue, lines, predict, serve

KEPT = ("student_sha256", "run", "dataset", "model", "similarity", "scale")
"""What a catalogue's description has of that of the file that embedded it."""


def main(args) -> None:
    """`kdjax embed MODEL CATALOGUE INPUT... [--dtype=float32] [--batch-size=32]`: all of the inputs, or none.

    Raises:
      ValueError: the model gives no embeddings, or is the tower of queries; inputs cannot be read, each named.
    """
    catalogue.check(args.catalogue, args.dtype)
    if args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {args.batch_size}")
    model = serve.load(args.model)
    if model.description.get("gives") != "embedding":
        raise ValueError(
            f"{args.model} gives {model.description.get('gives', 'logits')}, no embeddings: those of tasks search and "
            "retrieval do"
        )
    if serve.form(model.description) == "users":
        raise ValueError(f"{args.model} embeds users: the vectors of its items are written by kdjax export --catalogue")
    names, embeddings = embedded(model, args.inputs, args.batch_size)
    made = catalogue.write(Path(args.catalogue), names, embeddings, kept(model.description), args.dtype)
    size = Path(args.catalogue).stat().st_size
    print(f"{args.catalogue}: {len(made.names):,} embeddings in {args.dtype}, {size:,} bytes")


def kept(description: dict) -> dict:
    """What a catalogue says of the file that embedded it."""
    return {name: description[name] for name in KEPT if name in description}


def embedded(model: serve.Served, inputs: list[str], batch_size: int) -> tuple[list, np.ndarray]:
    """([id, title] of each row, embeddings [M, D]) of texts or photographs.

    Of a text what stands before a tab is its id, without one the text itself; of a photograph both are its path.
    """
    if isinstance(model, serve.Texts):
        read = list(lines.read(inputs, pairs=False))
        refuse([str(each) for each in read if isinstance(each, ValueError)], "texts")
        names = [(each.first.split("\t", 1) * 2)[:2] for each in read]
        texts = [lines.Line(each.place, title) for each, (_, title) in zip(read, names, strict=True)]
        made = list(lines.embedded(model, texts, batch_size, "document"))
    else:
        made = list(predict.logits(model, predict.files(inputs), batch_size))
        names = [[str(path), str(path)] for path, _ in made]
    refuse([str(each) for _, each in made if isinstance(each, ValueError)], "inputs")
    return names, asked.unit(model, np.stack([embedding for _, embedding in made]))
