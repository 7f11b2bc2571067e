"""The style of the figures: it prints in a column, in grey, and for colour-blind readers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prerl.analysis.study import Study
from prerl.settings.methods import Method

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

STYLE: "dict[RcKeyType, Any]" = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "prerl",  # the same bytes on every run
}
# Okabe and Ito's colours; a line style and a marker each, so that grey print tells them apart too.
LOOKS = {
    "base": ("#555555", (0, (1, 1)), "x"),
    "grpo": ("#000000", "-", "o"),
    "psr-rl": ("#E69F00", "--", "s"),
    "nsr-rl": ("#0072B2", "-.", "v"),
    "prerl": ("#CC79A7", "-", "D"),
    "psr-prerl": ("#D55E00", "--", "P"),
    "nsr-prerl": ("#56B4E9", "-.", "^"),
    "dsrl": ("#009E73", "-", "*"),
    "nsr-rl-grpo": ("#8C6D31", "--", "X"),
}
OTHERS = [("#A52A2A", "-", "H"), ("#4B4B8F", "--", "8"), ("#D4A017", "-.", "1")]
LOOKS |= {
    "rloo": ("#7F3C8D", "--", "h"),
    "reinforce-pp": ("#3969AC", "-.", "p"),
    "ppo": ("#E73F74", "-", "<"),
    "dr-grpo": ("#80A73B", "--", ">"),
    "w-reinforce": ("#A5AA99", "-.", "d"),
}
WIDTH = 6.9  # inches: a page's text width
FIGURES: dict[str, Callable[["Figures"], Figure]] = {}


def figure(function: Callable[["Figures"], Figure]) -> Callable:
    """Registers a figure under its function's name."""
    FIGURES[function.__name__] = function
    return function


class Figures(Study):
    """The summaries of a scale, and how each method looks."""

    def __init__(self, summary: Path, methods: dict[str, Method]) -> None:
        super().__init__(summary, methods)
        extra = [name for name in self.labels if name not in LOOKS]
        self.looks = LOOKS | {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(extra)}
        self.extra = extra

    def present(self, names: list[str]) -> list[str]:
        """The named methods that this scale has, in the order of the names."""
        return [name for name in names if name in self.labels]

    def line(self, axes: Axes, rows: pd.DataFrame, x: str, method: str, band: float = 0.15, **options: Any) -> None:
        """A line through the estimates in a band of their intervals, of that opacity."""
        color, dashes, marker = self.looks[method]
        axes.fill_between(rows[x], rows.low, rows.high, color=color, alpha=band, linewidth=0)
        label = self.labels[method]
        axes.plot(rows[x], rows.estimate, color=color, linestyle=dashes, marker=marker, label=label, **options)


def legend_below(drawn: Figure, axes: list[Axes]) -> None:
    """One legend of all panels under the figure."""
    entries = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    fitting = int(drawn.get_figwidth() / 1.14)  # inches that the longer names take
    drawn.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), fitting))
