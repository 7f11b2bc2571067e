"""The figure of the verdicts on the paper's claims."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from prerl.analysis.verdicts import BESIDE, HOLDS, OPEN, REFUTED
from prerl.report.figures.style import WIDTH, Figures, figure, legend_below
from prerl.report.rows import Row, each

FINDINGS = {
    HOLDS: ("#009E73", "o"),
    REFUTED: ("#D55E00", "s"),
    OPEN: ("#777777", "D"),
    BESIDE: ("#56B4E9", "|"),
}
UNITS = {
    "points": "difference (points)",
    "ratio": "ratio",
    "cosine": "cosine",
    "share": "share of rollouts",
}


@figure
def claims(data: Figures) -> Figure:
    rows, verdicts = data.parts, data.claims.set_index("id").verdict
    units = [unit for unit in UNITS if unit in set(rows.unit)]
    if not units:  # no claim was tested
        drawn, panel = plt.subplots(figsize=(WIDTH, 0.6))
        panel.set_axis_off()
        return drawn
    chosen = [rows[rows.unit == unit] for unit in units]
    heights = [len(part) + part.id.nunique() for part in chosen]
    size = (WIDTH, 0.5 + 0.155 * sum(heights) + 0.4 * len(units))
    drawn, axes = plt.subplots(len(units), 1, figsize=size, height_ratios=[h + 0.3 for h in heights], squeeze=False)
    for panel, part, unit in zip(axes[:, 0], chosen, units, strict=True):
        forest(panel, part, unit, verdicts)
    for finding, (color, marker) in FINDINGS.items():
        axes[0, 0].plot([], [], color=color, marker=marker, label=finding if finding != BESIDE else "no condition")
    axes[0, 0].plot([], [], "k|", markersize=7, markeredgewidth=1.5, label="reported")
    legend_below(drawn, [axes[0, 0]])
    return drawn


def forest(panel: Axes, rows: pd.DataFrame, unit: str, verdicts: pd.Series) -> None:
    """Below the name and verdict of each claim a line a part: interval, estimate, finding, the reported number; shaded
    where a condition wants the interval."""
    labels, places = [], {}
    for id, group in rows.groupby("id", sort=False):
        labels.append(f"{id}: {verdicts[id]}")
        for row in each(group):
            places[len(labels)] = row
            labels.append(row.part)
    for place, row in places.items():
        color, marker = FINDINGS[row.finding]
        panel.plot([row.low, row.high], [place, place], color=color)
        panel.plot(row.estimate, place, color=color, marker=marker)
        for bound in bounds(row):
            panel.plot(bound, place, alpha=0)  # so that the axis reaches it
        if pd.notna(row.reported):
            panel.plot(row.reported, place, "k|", markersize=7, markeredgewidth=1.5)
    if unit == "ratio":
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
    limits = panel.get_xlim()
    for place, row in places.items():
        if unit == "ratio" and row.estimate <= 0:  # never, which has no place on the axis
            panel.plot(limits[0], place, color=FINDINGS[row.finding][0], marker="<", clip_on=False)
        side = {"above": (row.margin, limits[1]), "below": (limits[0], row.margin), "within": bounds(row)}.get(row.side)
        if side:
            panel.fill_betweenx([place - 0.42, place + 0.42], *side, color="#e8e8e8", linewidth=0, zorder=0)
    panel.set_xlim(limits)
    panel.set_yticks(range(len(labels)), labels, fontsize=6)
    for place, label in enumerate(panel.get_yticklabels()):
        label.set_fontweight("normal" if place in places else "bold")
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.grid(False)
    panel.set_xlabel(UNITS[unit])


def bounds(row: Row) -> tuple[float, ...]:
    """The margins of a condition: two, one or none."""
    if row.side == "within":
        return -row.margin, row.margin
    return () if pd.isna(row.margin) else (row.margin,)
