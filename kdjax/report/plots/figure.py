"""The figure that pictures are drawn on: it shows itself in a notebook without pyplot."""

import io

import matplotlib.figure
import matplotlib.style

from kdjax.report.plots import style


class Figure(matplotlib.figure.Figure):
    """matplotlib's, with its SVG."""

    def svg(self) -> str:
        """The same figure gives the same text: it has no date."""
        file = io.StringIO()
        with matplotlib.style.context(["default", style.RC]):
            self.savefig(file, format="svg", metadata={"Creator": "kdjax", "Date": None})
        return file.getvalue()

    def _repr_svg_(self) -> str:
        return self.svg()
