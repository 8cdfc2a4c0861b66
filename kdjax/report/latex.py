"""A table as LaTeX that pdflatex compiles, whatever letters names have; or that says which engine it needs."""

import unicodedata

from kdjax.report.cells import Grid

PACKAGES = ("booktabs", "graphicx")

_WIDTH = r"\ifdim\width>\linewidth\linewidth\else\width\fi"
"""Of \\resizebox: the table's own width, or the text's if that is less."""

_LONG, _BREAKS = 20, "/_.,=+-"
"""Words of so many characters, such as paths and names of ablated rows, may be broken after these."""

_ASCII = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "[": "{[}",  # after \\ it would open an argument, as would a star
    "*": "{*}",
}
"""What means something to LaTeX, or is something else in its oldest encoding of fonts."""

_MARKS = {0x0300: "`", 0x0301: "'", 0x0302: "^", 0x0303: "~", 0x0304: "=", 0x0306: "u", 0x0307: ".", 0x0308: '"'}
_MARKS |= {0x030A: "r", 0x030B: "H", 0x030C: "v", 0x0323: "d", 0x0327: "c", 0x0331: "b"}
"""Combining character, by its number -> LaTeX's accent."""

_LETTERS = {"ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Ł": "L", "ł": "l", "ı": "i"}
_TEXT = {
    **{"–": "--", "—": "---", "‐": "-", "‑": "-", "“": "``", "”": "''", "„": ",,", "‘": "`", "’": "'", "\u00a0": "~"},
    **{c: rf"\{name}{{}}" for c, name in _LETTERS.items()},
    **{"…": r"\dots{}", "•": r"\textbullet{}", "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}", "°": r"$^\circ$"},
    **{c: rf"\textsuperscript{{{i}}}" for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{c: f"$_{i}$" for i, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    "˒": r"\textsuperscript{,}",
}

_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho varsigma sigma tau upsilon"
_LARGE = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
_SYMBOLS = {
    **{"±": "pm", "×": "times", "÷": "div", "·": "cdot", "≤": "le", "≥": "ge", "≠": "ne", "≈": "approx"},
    **{"∼": "sim", "∞": "infty", "→": "to", "←": "gets", "↔": "leftrightarrow", "⇒": "Rightarrow", "↑": "uparrow"},
    **{"↓": "downarrow", "√": "surd", "∑": "sum", "∏": "prod", "∂": "partial", "∇": "nabla", "∈": "in", "∥": "|"},
    **{"‖": "|", "∘": "circ", "⊕": "oplus", "⊗": "otimes", "∝": "propto", "µ": "mu", "′": "prime", "ϕ": "varphi"},
    **dict(zip("ΓΔΘΛΞΠΣΥΦΨΩ", _LARGE.split(" "), strict=True)),
    **dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", f"{_SMALL} phi chi psi omega".split(" "), strict=True)),
}
_MATH = {c: f"$\\{name}$" for c, name in _SYMBOLS.items()} | {"−": "$-$", "ο": "$o$"}


def document(grids: list[Grid], notes: list[str], paragraphs: list[tuple[str, str]]) -> str:
    """Tabulars no wider than the text, and below them footnotes and paragraphs as small text."""
    return page([_tabular(grid) for grid in grids if grid.rows], notes, paragraphs)


def page(
    tables: list[str], notes: list[str], paragraphs: list[tuple[str, str]], packages: tuple[str, ...] = PACKAGES
) -> str:
    """Finished tabulars, and below them footnotes and paragraphs, plain texts, as small print.

    The first lines, comments, name the packages and the engine: pdflatex, unless there are characters that it lacks.
    """
    below = [paragraph(note) for note in notes]
    below += [rf"\textbf{{{escape(title)}.}} {paragraph(text)}" for title, text in paragraphs]
    small = "{\\footnotesize\\raggedright\\emergencystretch=2em\n" + "\n\n".join(below) + "\n\\par}"
    body = "\n\n".join([*tables, small])
    return f"{_needs(body, packages)}\n\n{body}\n"


def _needs(body: str, packages: tuple[str, ...]) -> str:
    others = sorted({c for c in body if not c.isascii()})
    names = ", ".join((*packages, "fontspec") if others else packages)
    needs = rf"% needs \usepackage{{{names}}}"
    if not others:
        return f"% !TeX program = pdflatex\n{needs}"
    shown = " ".join(others[:20]) + (" ..." if len(others) > 20 else "")
    return (
        f"% !TeX program = lualatex\n{needs}\n"
        f"% and by \\setmainfont a font that has these, which pdflatex does not: {shown}"
    )


def _tabular(grid: Grid) -> str:
    lines = [" & ".join(map(escape, row)) + r" \\" for row in (grid.header, *grid.rows)]
    return tabular(len(grid.header), [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])


def tabular(columns: int, lines: list[str]) -> str:
    """Lines of a table, finished LaTeX, as a tabular no wider than the text; the first column is text."""
    inner = [rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}", *lines, r"\end{tabular}}"]
    fitted = [rf"\noindent\resizebox{{{_WIDTH}}}{{!}}{{%", *inner]
    return "\n".join(["{\\small\\setlength{\\tabcolsep}{4pt}", *fitted, "\\par}"])


def escape(text: str) -> str:
    """`text` as LaTeX prints it; characters that no font of pdflatex has remain as they are."""
    parts, last = [], ""
    for c in unicodedata.normalize("NFC", text):
        ligature = (c == last and c in "-',") or last + c in ("?`", "!`")
        parts.append("{}" * ligature + _character(c))
        last = c
    return "".join(parts)


def _character(c: str) -> str:
    if c.isascii():
        return _ASCII.get(c, c)
    known = _TEXT.get(c) or _MATH.get(c)
    base, *marks = unicodedata.normalize("NFD", c)
    if known or not marks or not base.isascii() or any(ord(mark) not in _MARKS for mark in marks):
        return known or c
    for mark in marks:
        base = rf"\{_MARKS[ord(mark)]}{{{base}}}"
    return base


def paragraph(text: str) -> str:
    """`escape`, with places where long words may be broken."""
    words = text.split(" ")
    return " ".join(_breakable(word) if len(word) > _LONG else escape(word) for word in words)


def _breakable(word: str) -> str:
    return "".join(escape(c) + r"\allowbreak{}" * (c in _BREAKS) for c in word)
