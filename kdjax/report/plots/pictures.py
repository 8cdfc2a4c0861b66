"""Draws every picture that applies and writes it; removes those of an earlier table that no longer do."""

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import matplotlib.style

from kdjax.files import write_bytes
from kdjax.report.plots import style, subject
from kdjax.report.plots.ablation import ablation
from kdjax.report.plots.accuracy import accuracy
from kdjax.report.plots.confusion import confusion, confusion_difference
from kdjax.report.plots.curves import curves
from kdjax.report.plots.figure import Figure
from kdjax.report.plots.forest import forest
from kdjax.report.plots.groups import groups
from kdjax.report.plots.shots import sets, shots
from kdjax.report.plots.terms import terms

PICTURES = {
    forest: "Difference of each method to the baseline, with its 95 % interval",
    accuracy: "The last epoch of every seed",
    curves: "Learning curves",
    terms: "The loss and its terms",
    ablation: "Against a hyperparameter",
    confusion: "Confusion matrix of the best method",
    confusion_difference: "Confusion matrix of the best distilled student minus the baseline's",
    groups: "Classes with few, medium and many training images",
}
"""Those of one experiment, with what stands below each on a page; shots is of several."""

FORMATS = {
    "png": ({"Software": "kdjax"}, b"Software\0kdjax"),
    "svg": ({"Creator": "kdjax", "Date": None}, b"<dc:title>kdjax</dc:title>"),
    "pdf": ({"Creator": "kdjax", "Producer": None, "CreationDate": None}, b"/Creator (kdjax)"),
}
"""Format -> (metadata without a date, how it reads in the file): it tells pictures of kdjax from those of others."""


def write(
    runs: list[dict], out: Path, shown: list[dict] | None = None, complain: Callable[[str], None] | None = None
) -> list[Path]:
    """Draws every picture that applies and returns the files, each written whole or not at all.

    A picture that cannot be drawn is left out, and `complain` gets one line that says why. Pictures that kdjax wrote
    into `out` before and that are none of these are removed.

    Args:
      runs: all lines of runs.jsonl, {"run", "result" (None when missing), "config", "history"}, in the table's order.
      out: the directory for the pictures, made if need be. Runs of one experiment give accuracy.png and so on; runs
        of several give accuracy-<experiment>.png and so on, and shots.png over those that belong together.
      shown: the lines of the rows to draw, None for all: it changes no number.
      complain: print to stderr if None.

    Raises:
      OSError: a file cannot be written.
    """
    pictures = _pictures(subject.experiments(runs, runs if shown is None else shown))
    return save(pictures, Path(out), [draw.__name__ for draw in (*PICTURES, shots)], complain)


def svgs(
    runs: list[dict], shown: list[dict] | None = None, complain: Callable[[str], None] | None = None, which=PICTURES
) -> dict[str, str]:
    """{a file's name without its ending: its SVG} of the pictures of `which` that apply, drawn as `write` does."""
    complain, found = _to_stderr if complain is None else complain, {}
    with matplotlib.style.context(["default", style.RC]):
        for stem, draw, drawn in _pictures(subject.experiments(runs, runs if shown is None else shown)):
            if draw in which and (files := _rendered(stem, draw, drawn, complain, ("svg",))):
                found[stem] = files["svg"].decode()
    return found


def caption(stem: str) -> str:
    """What stands below a picture of one experiment on a page, by its file's name without the ending."""
    return next(text for draw, text in PICTURES.items() if draw.__name__ == stem.partition("-")[0])


def forest_of(runs: list[dict], shown: list[dict] | None = None) -> Figure:
    """The picture of differences to the baseline, of one experiment.

    Raises:
      ValueError: the lines are of several experiments, or no method can be compared with the baseline yet.
    """
    experiments = subject.experiments(runs, runs if shown is None else shown)
    if len(experiments) > 1:
        names = ", ".join(experiment.name for experiment in experiments)
        raise ValueError(f"a forest is of one experiment, these runs are of {names}")
    with matplotlib.style.context(["default", style.RC]):
        figure = forest(experiments[0]) if experiments else None
    if figure is None:
        raise ValueError("no method can be compared yet: it takes a finished run of the baseline and of another method")
    return figure


def save(
    pictures: Iterable[tuple[str, Callable, object]],
    out: Path,
    stems: list[str],
    complain: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draws pictures, each (a file's name without its ending, a function, what it draws), and returns the files.

    Those of kdjax in `out` whose names are one of `stems`, or begin with one and "-", and that are none of these are
    removed. Otherwise as `write`.
    """
    complain = _to_stderr if complain is None else complain
    written = []
    with matplotlib.style.context(["default", style.RC]):
        for stem, draw, drawn in pictures:
            for form, content in _rendered(stem, draw, drawn, complain).items():
                written.append(out / f"{stem}.{form}")
                write_bytes(written[-1], content)
    _remove_others(out, set(written), stems)
    return written


def _to_stderr(message: str) -> None:
    print(f"kdjax: {message}", file=sys.stderr)


def _pictures(experiments: list[subject.Experiment]) -> Iterator[tuple[str, Callable, object]]:
    """(a file's name without its ending, a function, what it draws) of each picture."""
    names = _file_names([experiment.name for experiment in experiments])
    for name, experiment in zip(names, experiments, strict=True):
        for draw in PICTURES:
            yield draw.__name__ + (f"-{name}" if len(experiments) > 1 else ""), draw, experiment
    found = sets(experiments)
    for together in found:
        first = names[experiments.index(next(iter(together.values())))]
        yield "shots" + (f"-{first}" if len(found) > 1 else ""), shots, together


def _file_names(names: list[str]) -> list[str]:
    """Fit for every file system, no two the same where case does not count either."""
    taken = {}  # case-folded: as it is
    for name in names:
        plain = stem = re.sub(r"[^\w.+-]", "_", name)[:100]
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{plain}_{number}", number + 1
        taken[stem.casefold()] = stem
    return list(taken.values())


def _rendered(
    stem: str, draw: Callable, drawn, complain: Callable[[str], None], forms=tuple(FORMATS)
) -> dict[str, bytes]:
    """{format: a file's content}; empty for a picture that does not apply or cannot be drawn."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            figure = draw(drawn)
            files = {} if figure is None else _files(figure, forms)
        except Exception as error:  # a picture costs neither the table nor the exit status
            complain(f"the picture {stem} cannot be drawn: {type(error).__name__}: {' '.join(str(error).split())}")
            return {}
    for problem in _problems(warned):
        complain(f"the picture {stem}: {problem}")
    return files


def _files(figure: Figure, forms: Iterable[str]) -> dict[str, bytes]:
    figure.draw_without_rendering()  # the layout, once for all formats
    figure.set_layout_engine("none")
    files = {}
    for form in forms:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, metadata=FORMATS[form][0])
        files[form] = buffer.getvalue()
    return files


GLYPH = re.compile(r"Glyph (\d+) .*missing from")


def _problems(warned: list[warnings.WarningMessage]) -> list[str]:
    """One line for all characters that the font lacks, and one for each other warning."""
    texts = dict.fromkeys(" ".join(str(warning.message).split()) for warning in warned)
    missing = [chr(int(found[1])) for found in map(GLYPH.search, texts) if found]
    told = [f"its font lacks {''.join(missing[:20])} and shows boxes instead"] if missing else []
    return told + [text for text in texts if not GLYPH.search(text)]


def _remove_others(out: Path, written: set[Path], stems: list[str]) -> None:
    """Removes the pictures that kdjax wrote into `out` but for `written`; files of others stay."""
    names = re.compile(rf"({'|'.join(stems)})(-.+)?\.({'|'.join(FORMATS)})")
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        earlier = path not in written and names.fullmatch(path.name) and path.is_file()
        if earlier and FORMATS[path.suffix[1:]][1] in path.read_bytes():
            path.unlink()
