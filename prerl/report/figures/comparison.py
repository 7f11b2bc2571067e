"""Figures of a comparison with the baselines."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from prerl.analysis.scores import ALL
from prerl.report.figures.style import WIDTH, Figures, figure, legend_below
from prerl.report.rows import each

NEW = "#D00000"


@figure
def new_curves(data: Figures) -> Figure:
    new, curves = data.scale["new"], data.read("curves")
    curves = curves[curves.quantity == "accuracy"]
    baselines = [name for name in data.scale["methods"] if name != new]
    columns = 5
    lines = -(-len(baselines) // columns)
    drawn, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 0.5 + 1.35 * lines), sharex=True, sharey=True, squeeze=False
    )
    for panel in axes.flat[len(baselines) :]:
        panel.set_axis_off()
    mine = curves[curves.method == new]
    for panel, name in zip(axes.flat, baselines, strict=False):
        rows = curves[curves.method == name]
        panel.fill_between(rows.step, rows.low, rows.high, color="#555555", alpha=0.2, linewidth=0)
        panel.plot(rows.step, rows.estimate, color="#555555", linestyle="--", label="baseline")
        panel.fill_between(mine.step, mine.low, mine.high, color=NEW, alpha=0.15, linewidth=0)
        panel.plot(mine.step, mine.estimate, color=NEW, label=data.labels[new])
        panel.set(title=data.labels[name], ylim=(0, None))
    for panel in axes[-1]:
        panel.set_xlabel("update")
    drawn.supylabel("dev accuracy", fontsize=7)
    legend_below(drawn, [axes[0, 0]])
    return drawn


@figure
def differences(data: Figures) -> Figure:
    """The new method minus each baseline, its 95 % interval and that of the verdict, and what could be found."""
    rows = data.read("versus")
    rows = rows[(rows.metric == "avg") & (rows.baseline != "base")]
    benchmarks = list(dict.fromkeys(rows.benchmark))
    order = rows[rows.benchmark == ALL].sort_values("estimate").baseline.tolist()
    size = (WIDTH, 0.7 + 0.17 * len(order))
    drawn, axes = plt.subplots(1, len(benchmarks), figsize=size, sharey=True, squeeze=False)
    for panel, benchmark in zip(axes[0], benchmarks, strict=True):
        chosen = rows[rows.benchmark == benchmark].set_index("baseline").loc[order]
        for place, row in enumerate(each(chosen)):
            if benchmark == ALL:
                panel.plot([row.sure_low, row.sure_high], [place, place], color=NEW, linewidth=0.8)
            panel.barh(place, 2 * row.detectable, left=-row.detectable, height=0.6, color="none", edgecolor="#bbbbbb")
            panel.plot([row.low, row.high], [place, place], color=NEW, linewidth=2.2, solid_capstyle="butt")
            panel.plot(row.estimate, place, "o", color="white", markeredgecolor=NEW, markersize=3.5)
        panel.axvline(0, color="#555555", linewidth=0.8)
        panel.set(title=benchmark, xlabel=f"difference of avg@{'n' if benchmark == ALL else chosen.n.iloc[0]}")
        panel.grid(axis="x")
        panel.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(order)), [data.labels[name] for name in order])
    return drawn
