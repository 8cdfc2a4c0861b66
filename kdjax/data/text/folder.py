"""A tree of texts, <path>/{train,val,test}/<class>/*.txt, one text a file."""

from pathlib import Path

from kdjax.data.arrays import Arrays, Dataset
from kdjax.data.folder import Sought, labels, list_folder
from kdjax.data.text.files import text_of
from kdjax.data.text.texts import Texts, objects, refuse, wrong_text

TEXTS = Sought("text", "text (.txt)", (".txt",))


def read(path: str) -> Dataset:
    """The data set of a tree.

    Raises:
      ValueError: as `kdjax.data.folder.list_folder`; or files that are no texts, which are named, up to a bound.
    """
    listings, classes, warnings = list_folder(path, TEXTS)
    root, problems = Path(path).expanduser(), []
    splits = {
        name: Arrays(_texts(listing.paths, root, problems), labels(listing, classes))
        for name, listing in listings.items()
    }
    refuse(problems, "files")
    return Dataset(
        splits["train"], splits.get("val"), splits["test"], classes, root.resolve().name, warnings, kind="text"
    )


def _texts(paths: list[Path], root: Path, problems: list[str]) -> Texts:
    texts, places = [], [str(path.relative_to(root)) for path in paths]
    for path, place in zip(paths, places, strict=True):
        try:
            text, bad = text_of(path.read_bytes())
        except OSError as error:
            raise ValueError(f"cannot read {str(path)!r}: {error.strerror}") from error
        told = [f"{place}, line {number}: {what}" for number, what in bad]
        wrong = wrong_text(text, "the text")
        problems += told or ([f"{place}: {wrong}"] if wrong else [])
        texts.append(text)
    return Texts(objects(texts), None, objects(places))
