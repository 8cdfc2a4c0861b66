"""kdjax predict of rankers: the best documents of a catalogue for a query, items for a user, or orders of lists."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kdjax.data.ranking import lines as letor
from kdjax.ship import catalogue, lines, predict, serve


def answers(model: serve.Served, args) -> Iterator[tuple[dict, list[dict]] | ValueError]:
    """(what was asked, the best answers, each with its score) of each input, or the error in its place.

    Raises:
      ValueError: a catalogue is missing, cannot be read, or is of another network; or is given where there is no use.
    """
    embeds = model.description["gives"] == "embedding"
    if embeds and not args.catalogue:
        raise ValueError(
            f"{args.model} gives embeddings: --catalogue=FILE.npz names those of what can be found, which kdjax export "
            "--catalogue or kdjax embed writes"
        )
    if args.catalogue and not embeds:
        raise ValueError(f"{args.model} scores {model.noun} by itself and takes no --catalogue")
    form = serve.form(model.description)
    if embeds and form != "users":
        return _found(model, args)
    return {"users": _items, "lists": _orders, "pairs": _scores}[form](model, args)


def shown(asked: dict, best: list[dict]) -> str:
    """Lines of what was asked and what was answered."""
    told = asked.get("shown") or next(iter(asked.values()))
    names = [each.get("title") or str(next(iter(each.values()))) for each in best]
    return "\n".join([f"{told}:", *(f"{each['score']:10.4f}  {name}" for each, name in zip(best, names, strict=True))])


def as_json(asked: dict, best: list[dict]) -> str:
    return json.dumps({**{name: value for name, value in asked.items() if name != "shown"}, "top": best})


def _found(model, args) -> Iterator:
    """The nearest rows of a catalogue."""
    known = _catalogue(model, args)
    texts = isinstance(model, serve.Texts)
    given = lines.read(args.inputs, pairs=False) if texts else predict.files(args.inputs)
    embedded = lines.embedded if texts else predict.logits
    for example, embedding in embedded(model, given, args.batch_size):
        if isinstance(embedding, ValueError):
            yield embedding
            continue
        (nearest,) = known.nearest(unit(model, embedding[None]), args.top)
        asked = {**example.said, "shown": example.shown} if texts else {"image": str(example)}
        rows = [(*known.names[row], score) for row, score in nearest]
        yield asked, [{"id": name, "title": title, "score": score} for name, title, score in rows]


def _catalogue(model, args) -> catalogue.Catalogue:
    known = catalogue.read(args.catalogue)
    catalogue.same_network(args.catalogue, known, model.description)
    return known


def unit(model, embeddings: np.ndarray) -> np.ndarray:
    """Embeddings [N, D] whose products are scores: of retrieval, where nothing in the network makes them so, of length
    1."""
    if serve.form(model.description) == "towers":
        return embeddings
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def _items(model, args) -> Iterator:
    """The best items for users that are not among what they had: a line has names between tabs, or else commas."""
    known = _catalogue(model, args) if args.catalogue else None
    items = np.array([name for name, _ in known.names] if known else model.description["items"])
    for line in lines.read(args.inputs, pairs=False):
        if isinstance(line, ValueError):
            yield line
            continue
        names = [name.strip() for name in line.first.split("\t" if "\t" in line.first else ",")]
        users, history = (names[:1], names[1:]) if "user" in model.description["reads"] else ([], names)
        had = [name for name in history if name]
        try:
            scores = model.predict([had], users)
        except ValueError as error:
            yield ValueError(f"{line.place}: {error}")
            continue
        (scores,) = np.concatenate(list(known.scores(scores))) if known else scores
        scores = np.where(np.isin(items, had), -np.inf, scores) if known else scores
        best = [number for number in np.argsort(-scores, kind="stable")[: args.top] if np.isfinite(scores[number])]
        told = [{"item": str(items[number]), "score": float(scores[number])} for number in best]
        asked = {"user": users[0]} if users else {"history": history}
        yield {**asked, "place": line.place, "shown": line.shown}, told


def _orders(model, args) -> Iterator:
    """The items of each query of files of learning to rank, by their lines, the best first."""
    for file in map(Path, args.inputs):
        try:
            found = letor.queries(file, model.description["features"])
        except ValueError as error:
            yield error
            continue
        for name, numbers, scores in zip(found.names, found.lines, model.predict(found.features), strict=True):
            order = np.argsort(-scores, kind="stable")[: args.top]
            best = [{"line": int(numbers[at]), "score": float(scores[at])} for at in order]
            yield {"query": name, "file": str(file), "shown": f"{file}, query {name}"}, best


def _scores(model, args) -> Iterator:
    """The score of each pair of a query and a document, with a tab between."""
    for pair, score in lines.answered(lines.read(args.inputs, pairs=True), args.batch_size, model.predict):
        if isinstance(pair, ValueError):
            yield pair
        else:
            yield {**pair.said, "shown": pair.first}, [{"document": pair.second, "score": float(score)}]
