"""Figures of gradient alignment: on the base's rollouts and in its updates, by position, along training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prerl.report.figures.style import WIDTH, Figures, figure, legend_below
from prerl.report.rows import each, updater

RIGHT, WRONG, OTHER, UNRELATED = ("#009E73", "-"), ("#D55E00", "--"), ("#0072B2", "-."), ("#777777", ":")
PARTS = {"all": "All tokens", "body": "Without the restated problem"}


@figure
def alignment(data: Figures) -> Figure:
    rollouts, pairs = data.read("rollouts"), data.read("pairs")
    parts = [part for part in PARTS if part in set(rollouts.part)]
    drawn, axes = plt.subplots(1, len(parts), figsize=(WIDTH * 0.4 * len(parts), 2.2), sharey=True, squeeze=False)
    low = min(0.0, *(float(values.min()) for values in (rollouts.cosine, rollouts.other_prompt, pairs.across)))
    bins = [low + (1 - low) * place / 40 for place in range(41)]
    for panel, part in zip(axes[0], parts, strict=True):
        chosen = rollouts[rollouts.part == part]
        for label, values, (color, dashes) in (
            ("correct", chosen[chosen.correct].cosine, RIGHT),
            ("incorrect", chosen[~chosen.correct].cosine, WRONG),
            ("another prompt", chosen.other_prompt, OTHER),
            ("unrelated rollouts", pairs[pairs.part == part].across, UNRELATED),
        ):
            if len(values):
                panel.hist(values, bins, density=True, histtype="stepfilled", color=color, alpha=0.2)
                panel.hist(values, bins, density=True, histtype="step", color=color, linestyle=dashes)
                panel.axvline(values.mean(), color=color, linestyle=dashes, linewidth=1, label=label)
        panel.set(title=PARTS[part], xlabel="cosine")
    axes[0, 0].set_ylabel("density of rollouts")
    legend_below(drawn, list(axes[0]))
    return drawn


@figure
def alignment_updates(data: Figures) -> Figure:
    rows = data.read("updates")
    rows = rows[rows.quantity == "cosine"]
    null, rows = rows[rows.method.str.contains(",")], rows[(rows.method != rows.reference)]
    drawn, panel = plt.subplots(figsize=(WIDTH * 0.6, 0.7 + 0.19 * len(rows)))
    for row in each(null):
        panel.axvspan(row.low, row.high, color="#e8e8e8", linewidth=0, zorder=0)
    for place, row in enumerate(each(rows)):
        color, _, marker = data.looks.get(row.method, (*OTHER, "s"))
        panel.plot([row.low, row.high], [place, place], color=color)
        panel.plot(row.estimate, place, color=color, marker=marker)
    panel.set_yticks(range(len(rows)), [updater(data, name) for name in rows.method])
    panel.invert_yaxis()
    panel.grid(False)
    panel.set(xlabel="cosine with GRPO's update on the same batch", xlim=(min([0, *rows.low]), 1))
    return drawn


@figure
def alignment_positions(data: Figures) -> Figure:
    rows = data.read("positions")
    rows = rows[rows.position >= 0]
    titles = {"difference": "log P(y_t|x) less log P(y_t), nats", "correlation": "correlation of the two"}
    drawn, axes = plt.subplots(1, 2, figsize=(WIDTH * 0.8, 2.0))
    for panel, (quantity, title) in zip(axes, titles.items(), strict=True):
        chosen = rows[rows.quantity == quantity]
        panel.fill_between(chosen.position, chosen.low, chosen.high, color="#0072B2", alpha=0.2, linewidth=0)
        panel.plot(chosen.position, chosen.estimate, color="#0072B2", marker="o", markersize=2)
        panel.axhline(0, color="#555555", linewidth=0.8, linestyle=(0, (1, 1)))
        panel.set(title=title, xlabel="position in the response")
    return drawn


@figure
def alignment_training(data: Figures) -> Figure:
    rows = data.read("alignment")
    rows = rows[(rows.correct == "any") & (rows.group == "whole")]
    parts = [part for part in PARTS if part in set(rows[rows.method == "base"].part)]
    drawn, axes = plt.subplots(2, len(parts), figsize=(WIDTH * 0.4 * len(parts), 3.8), sharey="row", squeeze=False)
    for line, quantity in zip(axes, ("cosine", "excess"), strict=True):
        chosen = rows[rows.quantity == quantity]
        for panel, part in zip(line, parts, strict=True):
            along(data, panel, chosen[chosen.part == part])
            panel.set(ylim=(min(0, *chosen.low), 1 if quantity == "cosine" else None))
        line[0].set_ylabel(quantity)
    for panel, last, part in zip(*axes, parts, strict=True):
        panel.set_title(PARTS[part])
        last.set_xlabel("update")
    legend_below(drawn, list(axes[0]))
    return drawn


def along(data: Figures, panel: Axes, rows: pd.DataFrame) -> None:
    """Lines of the methods over the updates, and the base at 0."""
    base, rows = rows[rows.method == "base"], rows[rows.method != "base"]
    for method in dict.fromkeys(rows.method):
        data.line(panel, rows[rows.method == method].sort_values("step"), "step", method)
    for row in each(base):
        panel.errorbar(0, row.estimate, [[row.estimate - row.low], [row.high - row.estimate]], fmt="x", c="#555555")
        panel.plot([], [], "x", c="#555555", label="Base")
