"""From compared gradients to estimates with intervals. Needs no torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.scores import BASE, Estimator
from prerl.files.checksums import read_table
from prerl.metrics import Array, resample_weights, stretched_interval

REACHED = 30  # rollouts that must reach a position for its numbers to be kept
QUANTITIES = ("cosine", "inner_product", "negative", "norm_post_train", "norm_pre_train")


def read_bases(bases: dict[int, Path], name: str) -> pd.DataFrame:
    """A table of all bases, by their seeds, with a column seed."""
    tables = [read_table(base / f"{name}.parquet").assign(seed=seed) for seed, base in bases.items()]
    return pd.concat(tables, ignore_index=True)


def read_alignment(results: Path, bases: dict[int, Path], methods: list[str], seeds: list[int]) -> pd.DataFrame:
    """All comparisons, a row a rollout, part and parameter group: those of the bases (step 0) and, where they were
    made, those along training."""
    tables = [read_bases(bases, "alignment").assign(method=BASE, step=0)]
    for method in methods:
        for seed in seeds:
            path = results / method / f"seed{seed}/alignment.parquet"
            if path.is_file():
                tables.append(read_table(path).assign(method=method, seed=seed))
    return pd.concat(tables, ignore_index=True)


def alignments(rollouts: pd.DataFrame, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Means over rollouts by method, step, part, parameter group and correctness (right, wrong, any), with the smallest
    and largest value; `negative` is the share of inner products below 0. Intervals over seeds and problems, since
    rollouts of one problem are alike. Rollouts whose gradient is zero have no cosine: `undefined` counts them."""
    rollouts = rollouts.assign(negative=(rollouts.inner_product < 0).astype(float))
    streams = {method: estimate.of(method) for method in rollouts.method.unique()}
    for (method, _, part, group), rows in rollouts.groupby(["method", "step", "part", "group"], sort=False):
        own, step = streams[method], int(rows["step"].iloc[0])
        for correct, chosen in {"any": rows, "right": rows[rows.correct], "wrong": rows[~rows.correct]}.items():
            if len(chosen) == 0:
                continue
            where = {"method": method, "step": step, "part": part, "group": group, "correct": correct}
            for quantity in QUANTITIES:
                values = chosen[chosen[quantity].notna()]
                cells = values.groupby(["seed", "problem"])[quantity]
                found = where | {
                    "quantity": quantity,
                    "rollouts": len(values),
                    "undefined": len(chosen) - len(values),
                    "minimum": float(values[quantity].min()),
                    "maximum": float(values[quantity].max()),
                }
                above, below = _cells(cells.sum()), _cells(cells.size())
                share = quantity == "negative"
                yield found | (own.share(above, below, len(values)) if share else own(above, below))


def _cells(values: pd.Series) -> Array:
    """(seeds, problems) of a series indexed so; 0 where a seed has no such rollout of a problem."""
    return values.unstack(fill_value=0).to_numpy(dtype=float)


def positions(tokens: pd.DataFrame, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """log P(y_t|x, y_<t) less log P(y_t|y_<t) in nats, and the correlation of the two over rollouts: by position (those
    that at least 30 rollouts reach), and over all tokens and those of the body (position -1)."""
    groups = [("all", -1, tokens)] + ([("body", -1, tokens[tokens.body])] if tokens.body.any() else [])
    reached = [rows for _, rows in tokens.groupby("position") if len(rows) >= REACHED]
    groups += [("all", int(rows["position"].iloc[0]), rows) for rows in reached]
    for part, position, rows in groups:
        where = {"part": part, "position": position, "tokens": len(rows), "rollouts": rows.rollout.nunique()}
        difference = (rows.logp_post_train - rows.logp_pre_train).groupby(rows.problem)
        mean = estimate(difference.sum().to_numpy()[None], np.asarray(difference.size(), dtype=float)[None])
        yield where | {"quantity": "difference"} | mean
        yield where | {"quantity": "correlation"} | correlation(rows, estimate)


def correlation(rows: pd.DataFrame, estimate: Estimator, level: float = 0.95) -> dict[str, Any]:
    """Pearson's correlation of the log-probabilities in both spaces, with an interval over problems."""
    x, y = rows.logp_post_train.to_numpy(dtype=float), rows.logp_pre_train.to_numpy(dtype=float)
    moments = pd.DataFrame({"n": 1.0, "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y})
    sums = moments.groupby(rows.problem.to_numpy()).sum().to_numpy()  # (problems, 6)

    def of(sums: Array) -> Array:
        n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (xy / n - x * y / n**2) / np.sqrt((xx / n - x**2 / n**2) * (yy / n - y**2 / n**2))

    value, problems = float(of(sums.sum(0))), len(sums)
    _, weights = resample_weights(1, problems, estimate.resamples, estimate.rng)
    resampled = of(weights @ sums)
    sizes = {"seeds": 1, "problems": problems}
    if not np.isfinite(resampled).all():
        return {"estimate": value, "low": float("nan"), "high": float("nan")} | sizes
    zx, zy = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    of_token = zx * zy - value * (zx**2 + zy**2) / 2
    influence = pd.Series(of_token).groupby(rows.problem.to_numpy()).sum().to_numpy() * problems / len(rows)
    low, high = stretched_interval(value, resampled, influence[None], level)
    return {"estimate": value, "low": max(low, -1.0), "high": min(high, 1.0)} | sizes


def noises(noise: pd.DataFrame, halves: pd.DataFrame, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """What cosines are to be compared with: the mean over pairs of unrelated rollouts, with intervals over problems;
    and between mean gradients of halves of the problems, the mean over splits with their range as low and high."""
    for part, rows in noise.groupby("part"):
        for pair in ("across", "within"):
            cells = rows[rows[pair].notna()].groupby("problem")[pair]
            found = estimate(cells.sum().to_numpy()[None], np.asarray(cells.size(), dtype=float)[None])
            yield {"part": part, "of": "rollouts", "pair": pair, "count": len(rows)} | found
    for part, rows in halves.groupby("part"):
        for pair in ("within_post_train", "within_pre_train", "across", "across_halves"):
            found = {"estimate": rows[pair].mean(), "low": rows[pair].min(), "high": rows[pair].max()}
            sizes = {"seeds": 1, "problems": int(noise.problem.nunique())}
            yield {"part": part, "of": "halves", "pair": pair, "count": len(rows)} | found | sizes
