"""The figures, in one style that prints in a column, in grey, and for colour-blind readers."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from prerl.config import Method
from prerl.records import write
from prerl.study import Study

STYLE = {
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
OTHERS = [("#7F3C8D", "-", "h"), ("#A5AA99", "--", "p"), ("#E73F74", "-.", "<")]
PANELS = {
    "Post-train space: log P(y|x)": ["grpo", "psr-rl", "nsr-rl"],
    "Pre-train space: log P(y)": ["prerl", "psr-prerl", "nsr-prerl"],
    "Warm-up, then GRPO": ["grpo", "dsrl", "nsr-rl-grpo"],
}
WIDTH = 6.9  # inches: a page's text width
FIGURES: dict[str, Callable[["Figures"], Figure]] = {}


def figure(function: Callable[["Figures"], Figure]) -> Callable:
    """Registers a figure under its function's name."""
    FIGURES[function.__name__] = function
    return function


def draw_figures(summary: Path, methods: dict[str, Method], out: Path) -> None:
    """Writes out/NAME.svg, .pdf and .png for every figure below."""
    data = Figures(summary, methods)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            drawn = draw(data)
            for kind, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None}), ("png", None)):
                save(drawn, out / f"{name}.{kind}", kind, metadata)
            plt.close(drawn)


def save(drawn: Figure, path: Path, kind: str, metadata: dict | None) -> None:
    write(path, lambda partial: drawn.savefig(partial, format=kind, dpi=220, metadata=metadata))


class Figures(Study):
    """The summaries of a scale, and how each method looks."""

    def __init__(self, summary: Path, methods: dict[str, Method]) -> None:
        super().__init__(summary, methods)
        extra = [name for name in self.labels if name not in LOOKS]
        self.looks = LOOKS | {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(extra)}
        self.extra = extra

    def present(self, names: list[str]) -> list[str]:
        """Those of the methods that this scale has."""
        return [name for name in names if name in self.labels]

    def line(self, axes: Axes, rows: pd.DataFrame, x: str, method: str, **options: object) -> None:
        """A line through the estimates in a band of their intervals."""
        color, dashes, marker = self.looks[method]
        axes.fill_between(rows[x], rows.low, rows.high, color=color, alpha=0.15, linewidth=0)
        label = self.labels[method]
        axes.plot(rows[x], rows.estimate, color=color, linestyle=dashes, marker=marker, label=label, **options)


def legend_below(drawn: Figure, axes: list[Axes]) -> None:
    """One legend of all panels under the figure."""
    entries = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    drawn.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 6))


@figure
def learning_curves(data: Figures) -> Figure:
    """Dev accuracy along training: mean and 95 % interval over seeds and problems, thin lines are seeds."""
    curves, seeds = data.read("curves"), data.read("seeds")
    curves, seeds = curves[curves.quantity == "accuracy"], seeds[seeds.quantity == "accuracy"]
    panels = {title: data.present(names) for title, names in PANELS.items()}
    if data.extra:
        panels["Other methods"] = data.present(["grpo", *data.extra])
    panels = {title: names for title, names in panels.items() if names}
    drawn, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 2.5), sharey=True, squeeze=False)
    for panel, (title, names) in zip(axes[0], panels.items(), strict=True):
        for name in names:
            for _, seed in seeds[seeds.method == name].groupby("seed"):
                panel.plot(seed.step, seed.estimate, color=data.looks[name][0], linewidth=0.5, alpha=0.5)
            data.line(panel, curves[curves.method == name], "step", name)
        base = curves[curves.step == 0].estimate.iloc[0]
        panel.axhline(base, color="#555555", linewidth=0.8, linestyle=(0, (1, 1)))
        panel.set(title=title, xlabel="update", ylim=(0, None))
    axes[0, 0].set_ylabel("dev accuracy")
    legend_below(drawn, list(axes[0]))
    return drawn


@figure
def pass_at_k(data: Figures) -> Figure:
    """Unbiased pass@k on the test benchmarks, with 95 % intervals."""
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
    """Response length, entropy, transition and reflection words on dev along training, with 95 % intervals."""
    curves = data.read("curves")
    quantities = {
        "response tokens": "tokens per response",
        "entropy": "entropy (nats per token)",
        **{name: name for name in dict.fromkeys(curves.quantity) if name.endswith("per 1k tokens")},
    }
    names = data.present(["grpo", "nsr-rl", "prerl", "nsr-prerl", "dsrl", *data.extra])
    drawn, axes = plt.subplots(1, len(quantities), figsize=(WIDTH, 2.3), squeeze=False)
    for panel, (quantity, label) in zip(axes[0], quantities.items(), strict=True):
        rows = curves[curves.quantity == quantity]
        for name in names:
            data.line(panel, rows[rows.method == name], "step", name, markevery=2)
        panel.set(title=label, xlabel="update", ylim=(0, None))
        panel.title.set_fontsize(6.5)
    legend_below(drawn, list(axes[0]))
    return drawn


@figure
def alignment(data: Figures) -> Figure:
    """Cosine of the gradients of log P(y) and log P(y|x), a value a rollout of the base."""
    rollouts = data.read("rollouts")
    titles = {"all": "All tokens", "body": "Without the restated problem"}
    drawn, axes = plt.subplots(1, 2, figsize=(WIDTH * 0.75, 2.2), sharey=True)
    low = min(0.0, float(rollouts.cosine.min()))
    bins = [low + (1 - low) * place / 40 for place in range(41)]
    for panel, (part, title) in zip(axes, titles.items(), strict=True):
        for correct, (color, dashes) in {True: ("#009E73", "-"), False: ("#D55E00", "--")}.items():
            values = rollouts[(rollouts.part == part) & (rollouts.correct == correct)].cosine
            if len(values):
                label = "correct" if correct else "incorrect"
                panel.hist(values, bins, density=True, histtype="stepfilled", color=color, alpha=0.2)
                panel.hist(values, bins, density=True, histtype="step", color=color, linestyle=dashes)
                panel.axvline(values.mean(), color=color, linestyle=dashes, linewidth=1, label=f"{label}, mean")
        panel.set(title=title, xlabel="cosine")
    axes[0].set_ylabel("density of rollouts")
    legend_below(drawn, list(axes))
    return drawn
