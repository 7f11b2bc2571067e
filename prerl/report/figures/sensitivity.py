"""The figure of what was tuned: a small panel a method."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from prerl.analysis.sensitivity import ends
from prerl.report.figures.style import WIDTH, Figures, figure
from prerl.report.rows import each

COLUMNS = 5
REFERENCE = "grpo"
TIMES = {"learning_rate_factor": "learning rate", "warm_ups": "warm-up's length"}


@figure
def sensitivity(data: Figures) -> Figure:
    rows = ends(data.read("sensitivity"))
    chosen = rows[rows.chosen].set_index("method")
    panels = []  # (title, column of the horizontal axis, the candidates, those of the reference)
    reference = rows[rows.method == REFERENCE]
    for method in chosen.index:
        own = rows[rows.method == method]
        rates = own[own.warm_ups == chosen.warm_ups[method]]
        label = data.methods[method].label
        panels.append((label, "learning_rate_factor", rates, reference if method != REFERENCE else reference[:0]))
        if own.warm_ups.nunique() > 1:
            lengths = own[own.learning_rate_factor == chosen.learning_rate_factor[method]]
            panels.append((label, "warm_ups", lengths, reference[:0]))
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    size = (WIDTH * columns / COLUMNS, 0.4 + 1.25 * lines)
    drawn, axes = plt.subplots(lines, columns, figsize=size, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, x, candidates, other) in zip(axes.flat, panels, strict=False):
        panel(axis, candidates.sort_values(x), other.sort_values("learning_rate_factor"), x)
        axis.set_title(title, fontsize=6.5)
        axis.set_xlabel("times the " + TIMES[x], fontsize=6)
    axes.flat[0].set_ylim(0, None)
    drawn.supylabel("dev accuracy at the end", fontsize=7)
    return drawn


def panel(axes: Axes, rows: pd.DataFrame, reference: pd.DataFrame, x: str) -> None:
    """A line through the means, the range of the seeds, a ring around what was chosen, and the reference in grey."""
    axes.plot(reference["learning_rate_factor"], reference.accuracy, color="#bbbbbb", linewidth=0.9)
    axes.plot(rows[x], rows.accuracy, color="#0072B2", marker="o")
    for row in each(rows):
        axes.plot([getattr(row, x)] * 2, [row.lowest, row.highest], color="#0072B2", marker="_", linewidth=0.7)
        if row.chosen:
            axes.plot(getattr(row, x), row.accuracy, "o", markersize=8, markerfacecolor="none", color="#D55E00")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({*rows[x], *reference["learning_rate_factor"]})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
