"""What is said of rankers as they ship: which form a run's student has, and what its file must know of the data."""

from pathlib import Path

import numpy as np

from kdjax import tasks
from kdjax.config.build import build_model
from kdjax.data.arrays import Dataset
from kdjax.losses.items import table_of
from kdjax.runs import identity, task
from kdjax.runs.directory import Run
from kdjax.ship import forms, inference, serve
from kdjax.tasks import recommendation
from kdjax.training import searching

EXPORTED = "classifiers and encoders of images and of texts, and networks that rank lists, documents or items"


def form(run: Run, config: dict, result: dict) -> str:
    """The form of a run's student, a key of `kdjax.ship.serve.FORMS`.

    Raises:
      ValueError: what it predicts is not exported.
    """
    name, text = task.of(result).name, (run.path / "tokenizer.json").is_file()
    if name in (task.CLASSIFICATION.name, tasks.retrieval.TASK.name):
        if text or result.get("image_shape", ()) is not None:
            return "texts" if text else "images"
        name = f"{name} of other examples"
    else:
        told = tasks.named(config["task"])
        if told.lists:
            return _of_lists(run, config, text)
        if told.keep is recommendation.keep:
            return "users"
    raise ValueError(f"{run.path}: what is exported are {EXPORTED}; this is {name}")


def of_ranks(config: dict) -> bool:
    """Whether a run's task is one of rankers but retrieval, whose networks are encoders of images or texts."""
    told = tasks.named(config["task"])
    return told.catalogue or told.lists or told.keep is recommendation.keep


def _of_lists(run: Run, config: dict, text: bool) -> str:
    """The form of what orders lists: of items with features, or of texts by two towers or by one network."""
    if not text:
        return "lists"
    model = inference.network({**config["student"], "vocabulary": 1})
    if all(hasattr(model, name) for name in searching.TOWERS):
        return "towers"
    if hasattr(model, "pairs"):
        return "pairs"
    raise ValueError(
        f"{run.path}: {config['student']['model']} has neither the methods {' and '.join(searching.TOWERS)}, as "
        "bi_encoder, nor pairs, as cross_encoder: what a file should compute of a query is not known"
    )


def shape(path: Path, config: dict, dataset: Dataset, form: str) -> dict:
    """What a description says of a ranker besides what all say.

    Raises:
      ValueError: the data are others than those of the training; the network looks at neither user nor history.
    """
    known = identity.stored(config).get("data", {})
    if changed := identity.other_data(known, dataset.fingerprint):
        raise ValueError(
            f"{path}: {dataset.name} is other data than it was trained on, and what its numbers mean is read of the "
            f"data: {'; '.join(changed)}"
        )
    return {"form": form, **{"lists": _list, "users": _user}.get(form, _search)(path, config, dataset, form)}


def _list(path: Path, config: dict, dataset: Dataset, form: str) -> dict:
    """A network that sees the first features alone, as scorer(seen=16), takes no others."""
    inputs = dataset.test.input
    if not isinstance(inputs, dict) or inputs.keys() != {"features", "mask"}:
        raise ValueError(f"{path}: of lists those of items with features are exported, {dataset.name} has others")
    seen = getattr(inference.network(config["student"]), "seen", 0)
    return {"gives": "scores", "features": seen or inputs["features"].shape[-1]}


def _user(path: Path, config: dict, dataset: Dataset, form: str) -> dict:
    told = {"gives": "scores", "items": list(dataset.catalogue), "length": dataset.test.input["history"].shape[1]}
    whole = {**config["student"], **told, "users": list(dataset.users)}
    model = inference.network(whole)
    if hasattr(model, "averaged"):
        told |= {"model": "matrix_factorisation", "kwargs": {"width": model.width}}
        whole |= told
        model = inference.network(whole)
    if hasattr(model, "graph"):
        raise ValueError(
            f"{path}: {config['student']['model']} computes vectors from who took what, which no file holds; export a "
            "student that has vectors of its own, as matrix_factorisation, or the method averaged, as lightgcn"
        )
    reads = forms.reads(model, whole)
    if not reads:
        raise ValueError(
            f"{path}: {config['student']['model']} looks at neither user nor history and gives everybody the same "
            "list, which needs no file"
        )
    return {**told, "reads": reads, **({"users": whole["users"]} if "user" in reads else {})}


def _search(path: Path, config: dict, dataset: Dataset, form: str) -> dict:
    lengths = {"query": dataset.test.input["query"]["mask"].shape[1], "document": dataset.documents["mask"].shape[1]}
    told = {"vocabulary": dataset.tokenizer.size, "tokenizer": dataset.tokenizer.text(), "lengths": lengths}
    told |= {"front": dataset.tokenizer.special.front}
    if form == "pairs":
        return {"gives": "scores", "pairs": True, "length": sum(lengths.values()) - told["front"], **told}
    model = inference.network({**config["student"], **told})
    shared = len(getattr(model, "towers", ())) == 1
    told |= {"similarity": getattr(model, "similarity", "dot"), "scale": getattr(model, "scale", 1.0)}
    one = {"tower": "both", "length": max(lengths.values())} if shared else {"tower": "query"}
    return {"gives": "embedding", "pairs": False, **told, **one}


def shipped(config: dict, variables, dataset: Dataset | None):
    """A run's variables as its file holds them: of a network that averages vectors over who took what the averages."""
    if dataset is None or not dataset.users:
        return variables
    model = build_model(config["student"], dataset.choices, "float32", "the run's student", dataset.known)
    if not hasattr(model, "averaged"):
        return variables
    users, items = model.averaged(*(variables["params"][f"{of}_vectors"] for of in ("user", "item")))
    return {"params": {"users": {"embedding": users}, "items": {"embedding": items, "bias": np.zeros(len(items))}}}


def items_of(variables) -> tuple:
    """([I, D], [I]): the vectors and biases of items that a user's embedding is multiplied with.

    Raises:
      ValueError: the scores of the network are no such products.
    """
    try:
        return table_of("kdjax export --catalogue", "student", variables)
    except ValueError as error:
        raise ValueError(f"{error}. Without --catalogue its file gives scores of all items") from error


def task_of(result: dict) -> dict:
    """What a description says of the task: its name, and the score that is measured of a file."""
    told = task.of(result)
    return {"name": told.name, "primary": told.primary.key, "title": told.primary.title, "unit": told.primary.unit}


def files(target: Path, description: dict) -> list[tuple[Path, dict]]:
    """(path, description) of each file: of two towers that share no weights the queries' is the target.

    That of the documents has -documents at the end of its name.
    """
    if description.get("tower") != "query":
        return [(target, description)]
    beside = target.with_name(f"{target.stem}-documents{target.suffix}")
    made = [(target, "query"), (beside, "document")]
    return [
        (path, {**description, "tower": of, "length": description["lengths"][of], "weights": path.name})
        for path, of in made
    ]


def inputs(description: dict, dataset: Dataset, most: int) -> tuple[list, str]:
    """Inputs to check a file with, and what they are: random ones, and some of the test split, at most `most`."""
    served = serve.of(description)(description, None)
    drawn = served.drawn(16, np.random.default_rng(0))
    parts = taken(description, dataset, dataset.test, most)
    lists = description["form"] == "lists"
    count = f"{len(parts)} lists" if lists else len(next(iter(parts[0].values())))
    return [drawn, *parts], f"16 random {served.noun}, {count} of the test split"


def taken(description: dict, dataset: Dataset, split, most: int = 0) -> list[dict]:
    """What a file takes of the examples of a split, evenly spaced and at most so many; 0: all of them.

    Of queries with documents as pairs, those of the lists; of a tower of documents, documents of the catalogue.
    """
    chosen = lambda count: np.linspace(0, count - 1, min(most or count, count)).round().astype(int)  # noqa: E731
    form, given = description["form"], split.input
    if form == "towers":
        texts = {"query": given["query"], "document": dataset.documents}
        named = texts if description["tower"] == "both" else [description["tower"]]
        return [{name: leaf[chosen(len(leaf))] for name, leaf in texts[of].items()} for of in named]
    if form == "users":
        return [{name: given[name][chosen(len(split))] for name in description["reads"]}]
    rows = chosen(len(split))
    if form == "pairs":
        return [_pairs(description, dataset, given["query"], given["items"], rows, most)]
    width = description["features"]
    return [{"features": given["features"][row : row + 1, given["mask"][row], :width]} for row in rows]


def _pairs(description: dict, dataset: Dataset, query: dict, items: np.ndarray, rows: np.ndarray, most: int) -> dict:
    """The pairs of some queries with the documents of their lists, joined as the network does it."""
    from kdjax.models.ranking.encoders import joined

    row, place = np.nonzero(items[rows] >= 0)
    if most:
        row, place = row[:most], place[:most]
    own = {name: leaf[rows[row]] for name, leaf in query.items()}
    documents = {name: leaf[items[rows[row], place]][:, None] for name, leaf in dataset.documents.items()}
    made = joined(own, documents, description["front"])
    return {name: np.asarray(leaf[:, 0]) for name, leaf in made.items()}
