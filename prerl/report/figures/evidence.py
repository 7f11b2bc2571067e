"""Figures of verdicts and comparisons: sample efficiency, the warm-up and the other ablations, the claims."""

import math

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from prerl.analysis.curves import HALF
from prerl.report.figures.style import WIDTH, Figures, figure
from prerl.report.rows import each


@figure
def sample_efficiency(data: Figures) -> Figure:
    curves, speeds = data.read("curves"), data.read("speeds")
    curves = curves[curves.quantity == "accuracy"]
    speeds = speeds[speeds.target == HALF] if len(speeds) else speeds
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
