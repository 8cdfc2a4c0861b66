"""The catalogue of a run's own data, embedded by its exported file: what a search finds, and how well it finds it."""

from pathlib import Path

from kdjax.data.arrays import Dataset
from kdjax.ship import catalogue, embed, measured, ranked, serve
from kdjax.tasks.task import Task


def check(run: Path, path: str, dtype: str, form: str) -> None:
    """Raises a ValueError where there is no catalogue of a run, or its file cannot be so."""
    catalogue.check(path, dtype)
    if form != "towers":
        raise ValueError(
            f"{run}: --catalogue holds the embeddings of documents, of networks with towers as bi_encoder; this takes "
            f"{form}. kdjax embed writes one of photographs or texts of yours"
        )
    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no directory {Path(path).parent}")


def write(target: Path, path: str, dtype: str, dataset: Dataset, task: Task) -> dict:
    """Embeds all documents by a file, or by that of the documents beside it, and measures the search with them.

    Returns:
      The description of the catalogue: dtype, rows, bytes, and the primary score of the test split with it.
    """
    queries = serve.load(target)
    documents = serve.load(ranked.files(target, queries.description)[-1][0])
    embeddings = measured.embedded(documents, dataset.documents)
    titles = dataset.texts["documents"]
    names = [[str(name), str(title)] for name, title in zip(dataset.texts["ids"], titles, strict=True)]
    read = catalogue.write(Path(path), names, embeddings, embed.kept(queries.description), dtype)
    return {
        **read.description,
        "bytes": Path(path).stat().st_size,
        task.primary: measured.score(queries, dataset, task, read.embeddings),
    }
