"""Figures of results: learning curves, pass@k, what happens along training."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from prerl.report.figures.style import WIDTH, Figures, figure, legend_below

PANELS = {
    "Post-train space: log P(y|x)": ["grpo", "psr-rl", "nsr-rl"],
    "Pre-train space: log P(y)": ["prerl", "psr-prerl", "nsr-prerl"],
    "Warm-up, then GRPO": ["grpo", "dsrl", "nsr-rl-grpo"],
    "Other baselines": ["grpo", "rloo", "reinforce-pp", "ppo", "dr-grpo", "w-reinforce"],
}


def below(axes: NDArray, label: str) -> None:
    """The label of the horizontal axis, under the lowest row alone."""
    for panel in axes[-1]:
        panel.set_xlabel(label)


@figure
def learning_curves(data: Figures) -> Figure:
    curves, seeds = data.read("curves"), data.read("seeds")
    curves, seeds = curves[curves.quantity == "accuracy"], seeds[seeds.quantity == "accuracy"]
    panels = {title: data.present(names) for title, names in PANELS.items()}
    if data.extra:
        panels["Other methods"] = data.present(["grpo", *data.extra])
    panels = {title: names for title, names in panels.items() if set(names) - {"grpo"}} or {"GRPO": ["grpo"]}
    columns = 2 if len(panels) in (2, 4) else 3
    lines = -(-len(panels) // columns)
    drawn, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 0.7 + 1.75 * lines), sharex=True, sharey=True, squeeze=False
    )
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    for panel, (title, names) in zip(axes.flat, panels.items(), strict=False):
        for name in names:
            for _, seed in seeds[seeds.method == name].groupby("seed"):
                panel.plot(seed.step, seed.estimate, color=data.looks[name][0], linewidth=0.5, alpha=0.5)
            data.line(panel, curves[curves.method == name], "step", name, band=0.15 if len(names) <= 3 else 0.06)
        base = curves[curves.step == 0].estimate.iloc[0]
        panel.axhline(base, color="#555555", linewidth=0.8, linestyle=(0, (1, 1)))
        panel.set(title=title, ylim=(0, None))
    below(axes, "update")
    drawn.supylabel("dev accuracy", fontsize=7)
    legend_below(drawn, list(axes.flat))
    return drawn


@figure
def pass_at_k(data: Figures) -> Figure:
    scores = data.read("scores")
    scores = scores[scores.metric == "pass"]
    benchmarks = list(dict.fromkeys(scores.benchmark))
    drawn, axes = plt.subplots(1, len(benchmarks), figsize=(WIDTH, 2.5), squeeze=False)
    for panel, benchmark in zip(axes[0], benchmarks, strict=True):
        rows = scores[scores.benchmark == benchmark]
        for name in data.present(["base", "grpo", "nsr-prerl", "dsrl"]):
            data.line(panel, rows[rows.method == name], "k", name)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_locator(FixedLocator(sorted(set(rows.k))))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.set(title=benchmark, xlabel="k")
    axes[0, 0].set_ylabel("pass@k")
    legend_below(drawn, list(axes[0]))
    return drawn


@figure
def dynamics(data: Figures) -> Figure:
    curves = data.read("curves")
    quantities = {
        "response tokens": "tokens per response",
        "entropy": "entropy (nats per token)",
        "finished": "share of finished responses",
    }
    names = data.present(["grpo", "nsr-rl", "prerl", "nsr-prerl", "dsrl", *data.extra])
    drawn, axes = plt.subplots(1, len(quantities), figsize=(WIDTH, 2.3), squeeze=False)
    for panel, (quantity, label) in zip(axes[0], quantities.items(), strict=True):
        rows = curves[curves.quantity == quantity]
        for name in names:
            data.line(panel, rows[rows.method == name], "step", name, markevery=2)
        panel.set(title=label, xlabel="update", ylim=(0, None))
    legend_below(drawn, list(axes[0]))
    return drawn


@figure
def behaviours(data: Figures) -> Figure:
    curves = data.read("curves")
    names = [q for q in dict.fromkeys(curves.quantity) if q.endswith(" per response")]
    columns = 3
    lines = -(-len(names) // columns)
    drawn, axes = plt.subplots(lines, columns, figsize=(WIDTH, 0.6 + 1.5 * lines), sharex=True, squeeze=False)
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    for panel, quantity in zip(axes.flat, names, strict=False):
        rows = curves[curves.quantity == quantity]
        for name in data.present(["grpo", "nsr-rl", "prerl", "nsr-prerl", "dsrl"]):
            data.line(panel, rows[rows.method == name], "step", name, markevery=2)
        panel.set(title=quantity, ylim=(0, None))
    below(axes, "update")
    legend_below(drawn, list(axes.flat))
    return drawn
