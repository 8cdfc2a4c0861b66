"""Queries, documents and how far each was judged relevant to which: made splits of lists, a query in one of them.

The input of an example is {"query": its text, "items": [L] int32 numbers of documents in `Dataset.documents`, -1 at
padding}, its target the grades [L] float32, -1 at padding. A list of validation or test holds all that was judged for
the query. One of training is drawn, so that a step sees as many documents of each query: at most `relevant` of those
with a grade above 0, and `negatives` others, those judged 0 first and then any document of the catalogue that was not
judged for the query.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.text.splits import NAMES
from kdjax.data.text.texts import Texts, objects, refuse, wrong_text
from kdjax.streams import stream


class Judgment(NamedTuple):
    """One line of what was judged."""

    query: str  # its id
    document: str
    grade: float  # 0: not relevant
    place: str  # where it stands, "label.csv, line 12"
    split: str | None = None  # train, validation or test; None: to be drawn


@dataclass
class Judged:
    """What the files of a search say."""

    name: str
    queries: dict[str, str]  # id -> text
    documents: dict[str, str]  # id -> text, the whole catalogue
    judgments: list[Judgment]


@dataclass(frozen=True)
class Draw:
    """How splits are made of queries, and lists of what was judged for them."""

    relevant: int = 4  # of a training list, at most
    negatives: int = 0  # of a training list
    least: int = 1  # relevant documents of a query that may be drawn for validation or test

    def __post_init__(self):
        if min(self.relevant, self.least) < 1 or self.negatives < 0:
            raise ValueError("config.data.kwargs: relevant and least are 1 or more, negatives 0 or more")


def texts_by_name(rows: Iterable[tuple], what: str, problems: list[str]) -> dict[str, str]:
    """Name -> text; of names that stand twice, and texts that are none, `problems` are told.

    Args:
      rows: (place, name, text, what messages call the text); what: what they call the name.
    """
    found, places = {}, {}
    for place, name, text, called in rows:
        if told := wrong_text(text, called):
            problems.append(f"{place}: {told}")
        elif name in found:
            problems.append(f"{place}: {what} {name!r} again, it stands at {places[name]}")
        else:
            found[name], places[name] = text, place
    return found


def dataset(judged: Judged, config, draw: Draw) -> Dataset:
    """The splits of what was judged; where it says none config.data.test is the fraction of the queries that is drawn.

    config.data.validation is that of the others.

    Raises:
      ValueError: judgments of what there is not, that are negative, twice with different grades, or of one query in
        two splits; each told with its place. No query of a split has a relevant document.
    """
    lists, repeated = _lists(judged)
    split = _splits(judged, lists, config, draw)
    number = {document: at for at, document in enumerate(judged.documents)}
    arrays, warnings = {}, []
    for name in NAMES:
        own = {query: lists[query] for query in lists if split[query] == name}
        if own:
            warnings += _told(judged, name, own)
            arrays[name] = _train(judged, own, number, config, draw) if name == "train" else _whole(judged, own, number)
    warnings += [f"{repeated:,} judgments stand there twice, alike, and count once"] if repeated else []
    warnings += _left_out(lists, split, draw)
    parts = arrays["train"], arrays.get("validation"), arrays["test"]
    places = objects(f"document {document}" for document in judged.documents)
    documents = Texts(objects(judged.documents.values()), None, places)
    known = dict(kind="search", documents=documents, relevant=_relevant_of(lists, number))
    return Dataset(*parts, (), judged.name, tuple(warnings), **known)


def _lists(judged: Judged) -> tuple[dict[str, dict[str, Judgment]], int]:
    """(query -> document -> judgment; how many stand there once more)."""
    lists, problems, repeated = {}, [], 0
    for each in judged.judgments:
        if each.query not in judged.queries:
            problems.append(f"{each.place}: there is no query {each.query!r}")
        elif each.document not in judged.documents:
            problems.append(f"{each.place}: there is no document {each.document!r}")
        elif not each.grade >= 0:
            problems.append(f"{each.place}: the relevance must be a number of 0 or more, got {each.grade:g}")
        else:
            own = lists.setdefault(each.query, {})
            first = own.setdefault(each.document, each)
            repeated += first is not each
            if first.grade != each.grade:
                problems.append(
                    f"{each.place}: {each.document!r} has relevance {each.grade:g} for {each.query!r}, and "
                    f"{first.grade:g} at {first.place}"
                )
            first_split = next(iter(own.values()))
            if each.split != first_split.split:
                problems.append(
                    f"{each.place}: query {each.query!r} is of {each.split}, and of {first_split.split} at "
                    f"{first_split.place}"
                )
    refuse(problems, "judgments")
    return lists, repeated


def _splits(judged: Judged, lists: dict, config, draw: Draw) -> dict[str, str]:
    """Query -> its split, as the judgments say or drawn."""
    split = {query: next(iter(own.values())).split for query, own in lists.items()}
    for name, fraction in (("test", config.test), ("validation", config.validation)):
        if fraction and name not in split.values():
            _draw(judged, lists, split, name, fraction, config.split_seed, draw.least)
    split = {query: name or "train" for query, name in split.items()}
    if missing := [name for name in ("train", "test") if name not in split.values()]:
        raise ValueError(f"{judged.name}: no query is of the {missing[0]} split")
    return split


def _draw(judged, lists, split: dict, name: str, fraction: float, seed: int, least: int) -> None:
    """Gives that fraction of the queries of train, or of no split, to another."""
    free = [query for query, of in split.items() if of in (None, "train")]
    able = [query for query in free if _relevant(lists[query]) >= least]
    wanted = round(fraction * len(free))
    if not 0 < wanted <= len(able) or wanted == len(free):
        raise ValueError(
            f"config.data.{name}={fraction} of {len(free):,} queries, of which {len(able):,} have {least} relevant "
            f"documents or more, leaves a split of {judged.name} empty"
        )
    order = stream(seed, name, 0).generator().permutation(len(able))[:wanted]
    split |= {able[at]: name for at in order}


def _relevant(own: dict[str, Judgment]) -> int:
    return sum(each.grade > 0 for each in own.values())


def _told(judged: Judged, name: str, own: dict) -> list[str]:
    """What is to be known of the queries without a relevant document; a ValueError where a split has no others."""
    none = [query for query, of in own.items() if not _relevant(of)]
    if len(none) == len(own):
        raise ValueError(f"{judged.name}, {name}: no query has a relevant document")
    if not none:
        return []
    first = next(iter(own[none[0]].values()))
    return [
        f"{name} has {len(none):,} queries of {len(own):,} without a relevant document (the first: {none[0]!r}, "
        f"{first.place})" + (", which are left out" if name == "train" else "")
    ]


def _relevant_of(lists: dict, number: dict[str, int]) -> dict[str, np.ndarray]:
    """The place of each query -> all documents that are relevant to it, in no list or in one."""
    relevant = lambda own: [number[document] for document, each in own.items() if each.grade > 0]  # noqa: E731
    return {_place(query): np.array(relevant(own), np.int32) for query, own in lists.items()}


def _place(query: str) -> str:
    return f"query {query}"


def _left_out(lists: dict, split: dict[str, str], draw: Draw) -> list[str]:
    counts = [_relevant(own) for query, own in lists.items() if split[query] == "train"]
    over = sum(max(0, count - draw.relevant) for count in counts)
    if not over:
        return []
    return [
        f"{over:,} of {sum(counts):,} relevant documents of training queries are in no training list: each has "
        f"{draw.relevant} at most (config.data.kwargs.relevant)"
    ]


def _train(judged: Judged, own: dict, number: dict[str, int], config, draw: Draw) -> Arrays:
    """Drawn lists [N, relevant + negatives] of the queries that have something relevant."""
    rng = stream(config.split_seed, "lists").generator()
    own = {query: of for query, of in own.items() if _relevant(of)}
    made = [_drawn(rng, of, number, draw) for of in own.values()]
    return _arrays(judged, own, made, min(draw.relevant, max(map(_relevant, own.values()))) + draw.negatives)


def _drawn(rng: np.random.Generator, of: dict[str, Judgment], number: dict[str, int], draw: Draw) -> tuple:
    """(documents, grades) of a training list, the relevant ones first."""
    known = np.array([number[document] for document in of])
    grades = np.array([each.grade for each in of.values()], np.float32)
    order = rng.permutation(len(known))
    relevant = order[grades[order] > 0][: draw.relevant]
    others = order[grades[order] == 0][: draw.negatives]
    missing = min(draw.negatives - len(others), len(number) - len(known))
    more = known[:0]
    while len(more) < missing:
        more = np.setdiff1d(np.append(more, rng.integers(0, len(number), 2 * missing + 2)), known)
        more = rng.permutation(more)[:missing]
    chosen = np.concatenate([relevant, others])
    return np.concatenate([known[chosen], more]), np.concatenate([grades[chosen], np.zeros(len(more), np.float32)])


def _whole(judged: Judged, own: dict, number: dict[str, int]) -> Arrays:
    """The lists of all that was judged, in the order of the catalogue."""
    made = []
    for of in own.values():
        ordered = sorted((number[document], each.grade) for document, each in of.items())
        made.append(tuple(np.array(column) for column in zip(*ordered, strict=True)))
    return _arrays(judged, own, made, max(map(len, own.values())))


def _arrays(judged: Judged, own: dict, made: Iterable[tuple], length: int) -> Arrays:
    items, target = np.full((len(own), length), -1, np.int32), np.full((len(own), length), -1, np.float32)
    for row, (documents, grades) in enumerate(made):
        items[row, : len(documents)], target[row, : len(documents)] = documents, grades
    texts = Texts(objects(judged.queries[query] for query in own), None, objects(map(_place, own)))
    return Arrays({"query": texts, "items": items}, target)
