"""`kdjax cite`: the BibTeX of the papers whose losses an experiment's methods use, from references.json beside this.

That file says of each loss of kdjax which papers it is from ("losses"), of each recipe which it is from besides
("methods"), and has the papers themselves ("entries").
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from kdjax.config import recipes
from kdjax.find import nearest
from kdjax.runs import gather

NO_PAPER = (
    "cross_entropy",
    "second_cross_entropy",
    "squared_error",
    "binary_kd",
    "attention_kl",
    "attention_mse",
    "list_kl",
    "in_batch_documents_kl",
    "score_mse",
)
"""Losses that are from no paper in particular."""
OTHERS = (
    "first_stage",
    "freeze",
    "from_teacher",
    "optimizer",
    "prune",
    "quantize",
    "start",
    "student",
    "teacher",
    "data",
)
"""Keys of a method that are no terms."""


@cache
def references() -> dict:
    return json.loads((Path(__file__).parent / "references.json").read_text("utf-8"))


def losses_of(what: Iterable[str]) -> dict[str, list[str]]:
    """Method -> the losses of its terms, of experiments (directories, runs.jsonl) and of recipes by name.

    Raises:
      ValueError: something is neither.
    """
    found, known = {}, recipes.RECIPES | recipes.VARIANTS | recipes.TEXT
    for each in what:
        if Path(each).exists():
            for line in gather.read(each):
                found.setdefault(line["config"].get("method", ""), terms(line["config"].get("spec") or {}))
        elif each in known:
            found[each] = terms(known[each])
        else:
            raise ValueError(f"{each} is neither an experiment nor a method{nearest(each, known)}")
    return found


def terms(spec: dict) -> list[str]:
    """The losses of a method's terms, those of its first stage too, by name or import path."""
    own = {name: term for name, term in spec.items() if name not in OTHERS and isinstance(term, dict)}
    first = (spec.get("first_stage") or {}).get("terms") or {}
    return list(dict.fromkeys(term.get("fn") or name for name, term in [*own.items(), *first.items()]))


def keys(method: str, losses: Iterable[str]) -> list[str]:
    """The papers of a method with these losses."""
    known = references()
    found = [key for loss in losses for key in known["losses"].get(loss, ())]
    return list(dict.fromkeys([*known["methods"].get(method, ()), *found]))


def bibtex(methods: dict[str, list[str]]) -> str:
    """The entries of all methods, each with a comment that says whose it is; what is of no paper is named."""
    used, without = {}, []
    for method, losses in methods.items():
        for key in keys(method, losses):
            used.setdefault(key, []).append(method)
        own = [loss for loss in losses if loss not in NO_PAPER and loss not in references()["losses"]]
        without += [f"% {method}: {loss} is no loss of kdjax; cite its source yourself" for loss in own]
    entries = [f"% {', '.join(names)}\n{_entry(key)}" for key, names in used.items()]
    return "\n".join([*dict.fromkeys(without), *entries]) + "\n" * bool(without or entries)


def _entry(key: str) -> str:
    fields = references()["entries"][key]
    kind = "inproceedings" if "booktitle" in fields else "misc"
    shown = {**fields, "title": "{" + fields["title"] + "}"}
    if "eprint" in fields:
        shown["archivePrefix"] = "arXiv"
    body = "".join(f"  {name} = {{{value}}},\n" for name, value in shown.items())
    return f"@{kind}{{{key},\n{body}}}\n"
