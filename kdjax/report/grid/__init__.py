"""Experiments side by side: pairs, data sets or shots as columns, methods as rows.

    kdjax grid runs/a runs/b results/digits --out=results/grid

`compare(read(paths))` computes everything once; texts, LaTeX and pictures print it. Nothing here imports JAX.
"""

from pathlib import Path

from kdjax.files import write_text
from kdjax.report.grid import tex, texts
from kdjax.report.grid.columns import check as check
from kdjax.report.grid.columns import column as column
from kdjax.report.grid.columns import read as read
from kdjax.report.grid.comparison import Comparison as Comparison
from kdjax.report.grid.comparison import compare as compare


def write(comparison: Comparison, out) -> list[Path]:
    """Writes grid.md, grid.csv, grid.tex, macros.tex and the pictures under `out`; returns their paths."""
    from kdjax.report.plots import grid as pictures

    written = write_texts(comparison, out)
    return [*written, *pictures.write(comparison, Path(out))]


def write_texts(comparison: Comparison, out) -> list[Path]:
    """What `write` writes, but for the pictures."""
    files = {
        "grid.md": texts.markdown(comparison),
        "grid.csv": texts.csv(comparison),
        "grid.tex": tex.latex(comparison),
        "macros.tex": tex.macros(comparison),
    }
    for name, text in files.items():
        write_text(Path(out) / name, text)
    return [Path(out) / name for name in files]
