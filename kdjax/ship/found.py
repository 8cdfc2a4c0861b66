"""The catalogue of a run's own data: documents embedded by its exported file, or a recommender's vectors of items.

How well a search finds what it should in it is measured as it was written.
"""

from pathlib import Path

import numpy as np

from kdjax.data.arrays import Dataset
from kdjax.ship import catalogue, embed, measured, ranked, serve
from kdjax.tasks.task import Task


def check(run: Path, path: str, dtype: str, form: str) -> None:
    """Raises a ValueError where there is no catalogue of a run, or its file cannot be so."""
    catalogue.check(path, dtype)
    if form not in ("towers", "users"):
        raise ValueError(
            f"{run}: --catalogue holds the embeddings of documents, of networks with towers as bi_encoder, or of a "
            f"recommender's items; this takes {form}. kdjax embed writes one of photographs or texts of yours"
        )
    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no directory {Path(path).parent}")


def of_users(variables, sha256: str) -> dict:
    """What the file of a recommender whose items are a catalogue says in place of that it gives scores.

    Args:
      sha256: of the student.

    Raises:
      ValueError: its scores are no products of a user's embedding and vectors of items.
    """
    ranked.items_of(variables)
    return {"gives": "embedding", "student_sha256": sha256}


def write(target: Path, path: str, dtype: str, dataset: Dataset, task: Task, variables) -> dict:
    """Writes all documents, or a recommender's items, and measures the search with them.

    Documents are embedded by the file, or by that of the documents beside it; items are `variables` of the network.

    Returns:
      The description of the catalogue: dtype, rows, bytes, and the primary score of the test split with it.
    """
    served = serve.load(target)
    if serve.form(served.description) == "users":
        vectors, bias = (np.asarray(part) for part in ranked.items_of(variables))
        names = [[name, name] for name in served.description["items"]]
    else:
        documents = serve.load(ranked.files(target, served.description)[-1][0])
        vectors, bias = measured.embedded(documents, dataset.documents), None
        ids, titles = dataset.texts["ids"], dataset.texts["documents"]
        names = [[str(name), str(title)] for name, title in zip(ids, titles, strict=True)]
    read = catalogue.write(Path(path), names, vectors, embed.kept(served.description), dtype, bias)
    given = served, dataset, task
    score = measured.score(*given, read.embeddings) if bias is None else measured.of_items(*given, read)
    return {**read.description, "bytes": Path(path).stat().st_size, task.primary: score}
