"""Figures of gradient alignment: on the base's rollouts, by position, along training."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from prerl.report.figures.style import WIDTH, Figures, figure, legend_below
from prerl.report.rows import each

RIGHT, WRONG, UNRELATED = ("#009E73", "-"), ("#D55E00", "--"), ("#777777", ":")
PARTS = {"all": "All tokens", "body": "Without the restated problem"}


@figure
def alignment(data: Figures) -> Figure:
    rollouts, pairs = data.read("rollouts"), data.read("pairs")
    parts = [part for part in PARTS if part in set(rollouts.part)]
    drawn, axes = plt.subplots(1, len(parts), figsize=(WIDTH * 0.4 * len(parts), 2.2), sharey=True, squeeze=False)
    low = min(0.0, float(rollouts.cosine.min()), float(pairs.across.min()))
    bins = [low + (1 - low) * place / 40 for place in range(41)]
    for panel, part in zip(axes[0], parts, strict=True):
        chosen = rollouts[rollouts.part == part]
        for label, values, (color, dashes) in (
            ("correct", chosen[chosen.correct].cosine, RIGHT),
            ("incorrect", chosen[~chosen.correct].cosine, WRONG),
            ("unrelated rollouts", pairs[pairs.part == part].across, UNRELATED),
        ):
            if len(values):
                panel.hist(values, bins, density=True, histtype="stepfilled", color=color, alpha=0.2)
                panel.hist(values, bins, density=True, histtype="step", color=color, linestyle=dashes)
                panel.axvline(values.mean(), color=color, linestyle=dashes, linewidth=1, label=f"{label}, mean")
        panel.set(title=PARTS[part], xlabel="cosine")
    axes[0, 0].set_ylabel("density of rollouts")
    legend_below(drawn, list(axes[0]))
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
    rows = rows[(rows.quantity == "cosine") & (rows.correct == "any") & (rows.group == "whole")]
    base, rows = rows[rows.method == "base"], rows[rows.method != "base"]
    parts = [part for part in PARTS if part in set(base.part)]
    drawn, axes = plt.subplots(1, len(parts), figsize=(WIDTH * 0.4 * len(parts), 2.2), sharey=True, squeeze=False)
    for panel, part in zip(axes[0], parts, strict=True):
        for method in dict.fromkeys(rows.method):
            chosen = rows[(rows.method == method) & (rows.part == part)].sort_values("step")
            data.line(panel, chosen, "step", method)
        for row in each(base[base.part == part]):
            panel.errorbar(0, row.estimate, [[row.estimate - row.low], [row.high - row.estimate]], fmt="x", c="#555555")
            panel.plot([], [], "x", c="#555555", label="Base")
        panel.set(title=PARTS[part], xlabel="update", ylim=(min(0, *rows.low, *base.low), 1))
    axes[0, 0].set_ylabel("cosine")
    legend_below(drawn, list(axes[0]))
    return drawn
