"""The figures, drawn: SVG, PDF and PNG. What each shows is said by its caption, workflow/report/figures/NAME.rst."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from prerl.analysis.study import caption
from prerl.errors import known
from prerl.files.atomic import write, write_json
from prerl.report.figures import alignment, claims, comparison, evidence, results, sensitivity  # noqa: F401  (to register)
from prerl.report.figures.style import FIGURES, STYLE, Figures
from prerl.settings.methods import Method


def draw_figures(names: list[str], summary: Path, methods: dict[str, Method], captions: Path, out: Path) -> None:
    """Writes out/NAME.svg, .pdf and .png for the named figures, and their captions by name to out/captions.json."""
    data = Figures(summary, methods)
    texts = {name: caption(captions, name) for name in known(names, FIGURES, "figure")}
    with matplotlib.rc_context(STYLE):
        for name in names:
            drawn = FIGURES[name](data)
            for kind, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None}), ("png", None)):
                save(drawn, out / f"{name}.{kind}", kind, metadata)
            plt.close(drawn)
    write_json(out / "captions.json", texts)


def save(drawn: Figure, path: Path, kind: str, metadata: dict | None) -> None:
    """Writes the same bytes for the same figure. The layout's solver now and then rounds otherwise, and matplotlib
    names what it clips by the exact position: so positions are rounded, and stay."""
    if drawn.get_layout_engine():
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")
        for axes in drawn.axes:
            left, bottom, width, height = (round(side, 9) for side in axes.get_position(original=True).bounds)
            axes.set_position((left, bottom, width, height))
    write(path, lambda partial: drawn.savefig(partial, format=kind, dpi=220, metadata=metadata))
