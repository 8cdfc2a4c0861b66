"""kdjax predict: the classes of photographs or texts, by a model file."""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kdjax.cores import cores
from kdjax.data.folder import IMAGES
from kdjax.data.images.encoded import decode
from kdjax.ship import lines, serve


def main(args) -> int:
    """`kdjax predict MODEL INPUT... [--top=3] [--batch-size=32] [--json] [--catalogue=FILE]`; the exit status.

    A line an example, or, of rankers, a line more for each answer.

    Args:
      args: model (a file), inputs (of images files and folders, of texts see `kdjax.ship.lines.read`), top (classes to
        name), batch_size, json (lines of JSON), catalogue (a file, of rankers that search one, or "").

    Returns:
      0, or 2 if an example could not be read: it is named on stderr, and the others are predicted.

    Raises:
      ValueError: the model cannot be read, or an option is out of range.
    """
    for option in ("top", "batch_size"):
        if getattr(args, option) < 1:
            raise ValueError(f"--{option.replace('_', '-')} must be at least 1, got {getattr(args, option)}")
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files and classes may be any bytes
    model, failed = serve.load(args.model), 0
    for answer in (_ranked if "gives" in model.description else _named)(model, args):
        if isinstance(answer, ValueError):
            failed += 1
            print(f"kdjax: {answer}", file=sys.stderr)
        else:
            print(answer, flush=True)
    return 2 if failed else 0


def _named(model: serve.Served, args) -> Iterator[str | ValueError]:
    """The likeliest classes of each example, or the error in its place."""
    if args.catalogue:
        raise ValueError(f"{args.model} names classes and takes no --catalogue")
    for example, answer in _answers(model, args):
        if isinstance(answer, ValueError):
            yield answer
            continue
        top = np.argsort(-answer, kind="stable")[: args.top]
        named = [(model.classes[k], float(answer[k])) for k in top]
        yield _json(example, named) if args.json else _line(example, named)


def _ranked(model: serve.Served, args) -> Iterator[str | ValueError]:
    """The same of rankers, whose answers are orders."""
    from kdjax.ship import asked

    for answer in asked.answers(model, args):
        yield answer if isinstance(answer, ValueError) else (asked.as_json if args.json else asked.shown)(*answer)


def _answers(model: serve.Images | serve.Texts, args) -> Iterator[tuple]:
    if isinstance(model, serve.Texts):
        return lines.predict(model, lines.read(args.inputs, model.description["pairs"]), args.batch_size)
    return predict(model, files(args.inputs), args.batch_size)


def _line(example, named) -> str:
    shown = example.shown if isinstance(example, lines.Line) else example
    return f"{shown}: " + ", ".join(f"{name} {100 * probability:.2f} %" for name, probability in named)


def _json(example, named) -> str:
    top = [{"class": name, "probability": probability} for name, probability in named]
    said = example.said if isinstance(example, lines.Line) else {"image": str(example)}
    return json.dumps({**said, "top": top})


def files(arguments: Iterable[str]) -> Iterator[Path | ValueError]:
    """The files named, and the JPEG and PNG files in the folders named and below, in the order of their names.

    A folder without any gives an error in the place of a file.
    """
    for argument in map(Path, arguments):
        if not argument.is_dir():
            yield argument
            continue
        found = sorted(
            path for path in argument.rglob("*") if path.suffix.lower() in IMAGES.suffixes and path.is_file()
        )
        yield from found or [ValueError(f"{argument}: no JPEG or PNG files in this folder")]


def predict(model: serve.Images, paths: Iterable, batch_size: int = 32) -> Iterator[tuple]:
    """(path, probabilities [K], or a ValueError that says why there are none) for each path, as `logits` has them."""
    for path, answer in logits(model, paths, batch_size):
        yield path, answer if isinstance(answer, ValueError) else lines.probabilities(answer[None])[0]


def logits(model: serve.Images, paths: Iterable, batch_size: int = 32) -> Iterator[tuple]:
    """(path, what the file gives [K], or a ValueError that says why there is nothing) for each path, in order.

    Images are decoded by several threads as those of the training were, resized and cropped by the decoder where
    the model takes squares and by the model else.

    Args:
      paths: of JPEG and PNG files, or errors, which are passed on.
    """
    with ThreadPoolExecutor(cores()) as pool:
        for chunk in lines.chunks(paths, batch_size):
            images = list(pool.map(lambda path: _decode(path, model.image_shape), chunk))
            for shape, group in itertools.groupby(zip(chunk, images, strict=True), lambda pair: _shape(pair[1])):
                group = list(group)
                images = [image for _, image in group]
                answers = model.predict(np.stack(images)) if shape else images
                yield from zip([path for path, _ in group], answers, strict=True)


def _decode(path, image_shape):
    height, width, channels = image_shape
    if isinstance(path, ValueError):
        return path
    try:
        return decode(path, str(path), height if height == width else 0, "L" if channels == 1 else "RGB")
    except ValueError as error:
        return error


def _shape(image) -> tuple:
    return () if isinstance(image, ValueError) else image.shape
