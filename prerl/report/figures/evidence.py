"""Figures of verdicts and comparisons: sample efficiency, the warm-up and the other ablations, the claims."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from prerl.report.figures.style import WIDTH, Figures, figure, legend_below
from prerl.report.rows import each

VERDICTS = {
    "reproduced": ("#009E73", "o"),
    "not reproduced": ("#D55E00", "s"),
    "inconclusive": ("#777777", "D"),
}
UNITS = {
    "points": "difference (points)",
    "tokens": "difference (tokens)",
    "ratio": "ratio",
    "cosine": "cosine",
    "share": "share of rollouts",
}


@figure
def sample_efficiency(data: Figures) -> Figure:
    curves, speeds = data.read("curves"), data.read("speeds")
    curves = curves[curves.quantity == "accuracy"]
    drawn, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.6), width_ratios=[1.1, 1])
    for name in data.present(["grpo", "dsrl", "nsr-rl-grpo", "nsr-prerl"]) or data.scale["methods"]:
        data.line(left, curves[curves.method == name], "step", name)
    left.set(title="Dev accuracy", xlabel="update", ylim=(0, None))
    left.legend(loc="lower right")
    if not len(speeds):  # without GRPO there is no gain to compare with
        right.set_axis_off()
        return drawn
    left.axhline(speeds.threshold.iloc[0], color="#555555", linewidth=0.8, linestyle=(0, (1, 1)))
    last = float(curves.step.max())
    for place, row in enumerate(each(speeds)):
        color, _, marker = data.looks[row.method]
        low, high = min(row.low, last), min(row.high, last)
        right.plot([low, high], [place, place], color=color)
        if math.isfinite(row.estimate):
            right.plot(row.estimate, place, color=color, marker=marker)
        if not math.isfinite(row.high):
            right.plot(last, place, color=color, marker=">", clip_on=False)
    right.set_yticks(range(len(speeds)), [data.labels[name] for name in speeds.method])
    right.invert_yaxis()
    right.grid(False)
    right.set(title="Updates to half of GRPO's gain", xlabel="update (arrow: not within the run)", xlim=(0, last))
    return drawn


@figure
def warm_up(data: Figures) -> Figure:
    rows = data.read("warm_ups")
    rows = rows[~rows.contrast]
    benchmarks = list(dict.fromkeys(rows.benchmark))
    drawn, axes = plt.subplots(1, len(benchmarks), figsize=(WIDTH, 2.2), squeeze=False)
    for panel, benchmark in zip(axes[0], benchmarks, strict=True):
        chosen = rows[rows.benchmark == benchmark]
        data.line(panel, chosen, "length", "dsrl")
        panel.xaxis.set_major_locator(FixedLocator(sorted(set(chosen.length))))
        panel.set(title=benchmark, xlabel="updates of warm-up", ylim=(0, None))
    axes[0, 0].set_ylabel("accuracy, avg@n")
    return drawn


@figure
def ablations(data: Figures) -> Figure:
    rows = data.read("comparisons")
    rows = rows[(rows.reference == "grpo") & (rows.metric == "avg")]
    benchmarks, names = list(dict.fromkeys(rows.benchmark)), list(dict.fromkeys(rows.method))
    drawn, axes = plt.subplots(1, len(benchmarks), figsize=(WIDTH, 0.8 + 0.19 * len(names)), sharey=True, squeeze=False)
    for panel, benchmark in zip(axes[0], benchmarks, strict=True):
        for row in each(rows[rows.benchmark == benchmark]):
            place = names.index(row.method)
            color = "#009E73" if row.method == "dsrl" else "#333333"
            panel.plot([100 * row.low, 100 * row.high], [place, place], color=color)
            panel.plot(100 * row.estimate, place, "o", color=color)
        panel.axvline(0, color="#555555", linewidth=0.8, linestyle=(0, (1, 1)))
        panel.grid(False)
        panel.set(title=benchmark, xlabel="points less GRPO's")
    axes[0, 0].set_yticks(range(len(names)), [data.labels[name] for name in names])
    axes[0, 0].invert_yaxis()
    return drawn


@figure
def claims(data: Figures) -> Figure:
    rows = data.claims
    rows = rows[rows.estimate.notna()]
    units = [unit for unit in UNITS if unit in set(rows.unit)]
    heights = [int((rows.unit == unit).sum()) for unit in units]
    size = (WIDTH, 0.6 + 0.24 * sum(heights) + 0.42 * len(units))
    drawn, axes = plt.subplots(len(units), 1, figsize=size, height_ratios=[h + 0.3 for h in heights], squeeze=False)
    for panel, unit in zip(axes[:, 0], units, strict=True):
        forest(panel, rows[rows.unit == unit], unit)
    for verdict, (color, marker) in VERDICTS.items():
        axes[0, 0].plot([], [], color=color, marker=marker, label=verdict)
    axes[0, 0].plot([], [], "k|", markersize=7, markeredgewidth=1.5, label="reported")
    legend_below(drawn, [axes[0, 0]])
    return drawn


def forest(panel: Axes, rows: pd.DataFrame, unit: str) -> None:
    """A line a claim: interval, estimate, verdict, the reported number; shaded where the claim wants the interval."""
    for place, row in enumerate(each(rows)):
        color, marker = VERDICTS[row.verdict]
        panel.plot([row.low, row.high], [place, place], color=color)
        panel.plot(row.estimate, place, color=color, marker=marker)
        panel.plot(row.margin, place, alpha=0)  # so that the axis reaches it
        if pd.notna(row.reported):
            panel.plot(row.reported, place, "k|", markersize=9, markeredgewidth=1.5)
            panel.annotate(row.source, (row.reported, place), (3, 2), textcoords="offset points", fontsize=5.5)
    if unit == "ratio":
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
    limits = panel.get_xlim()
    for place, row in enumerate(each(rows)):
        side = {"above": (row.margin, limits[1]), "below": (limits[0], row.margin)}.get(row.side)
        if side:
            panel.fill_betweenx([place - 0.38, place + 0.38], *side, color="#e8e8e8", linewidth=0, zorder=0)
    panel.set_xlim(limits)
    panel.set_yticks(range(len(rows)), rows.id)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.grid(False)
    panel.set_xlabel(UNITS[unit])
