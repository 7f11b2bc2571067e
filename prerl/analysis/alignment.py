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
QUANTITIES = (
    "cosine", "other_prompt", "excess", "inner_product", "negative", "norm_post_train", "norm_pre_train",
)  # fmt: skip
REFERENCE = "grpo"  # whose update the others are compared with
UPDATES = ["method", "reference", "quantity", "estimate", "low", "high", "seeds", "batches", "skipped"]


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
    rollouts of one problem are alike. Rollouts whose gradient is zero have no cosine: `undefined` counts them. `excess`
    is by how much a rollout's cosine is above that of the same response behind another prompt, `other_prompt`."""
    excess = rollouts.cosine - rollouts.other_prompt
    rollouts = rollouts.assign(negative=(rollouts.inner_product < 0).astype(float), excess=excess)
    streams = {method: estimate.of(method) for method in rollouts.method.unique()}
    for (method, _, part, group), rows in rollouts.groupby(["method", "step", "part", "group"], sort=False):
        own, step = streams[method], int(rows["step"].iloc[0])
        for correct, chosen in {"any": rows, "right": rows[rows.correct], "wrong": rows[~rows.correct]}.items():
            if len(chosen) == 0:
                continue
            where = {"method": method, "step": step, "part": part, "group": group, "correct": correct}
            for quantity in QUANTITIES:
                values = chosen[chosen[quantity].notna()]
                found = where | {
                    "quantity": quantity,
                    "rollouts": len(values),
                    "undefined": len(chosen) - len(values),
                    "minimum": float(values[quantity].min()),
                    "maximum": float(values[quantity].max()),
                }
                above, below = _cells(values, quantity, own=method == BASE)
                share = quantity == "negative"
                sizes = _sizes(values) if method == BASE else {}
                yield found | (own.share(above, below, len(values)) if share else own(above, below)) | sizes


def _cells(rows: pd.DataFrame, column: str, own: bool, unit: str = "problem") -> tuple[Array, Array]:
    """Sums of a column and counts of its rows, (seeds, units) each; 0 where a seed has no such row of a unit. With
    `own` each seed has units of its own, which stand side by side in no particular order."""
    places = rows.groupby("seed")[unit].transform(lambda names: pd.factorize(names)[0]) if own else rows[unit]
    cells = rows[column].astype(float).groupby([rows.seed, places])
    above, below = (values.unstack(fill_value=0).to_numpy(dtype=float) for values in (cells.sum(), cells.size()))
    return above, below


def _sizes(rows: pd.DataFrame) -> dict[str, int]:
    """How many seeds, and how many problems in all, where every seed has problems of its own."""
    return {"seeds": int(rows.seed.nunique()), "problems": len(rows[["seed", "problem"]].drop_duplicates())}


def positions(tokens: pd.DataFrame, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """log P(y_t|x, y_<t) less log P(y_t|y_<t) in nats, and the correlation of the two over the bases' rollouts: by
    position (those that at least 30 rollouts reach), and over all tokens and those of the body (position -1)."""
    tokens = tokens.assign(difference=tokens.logp_post_train - tokens.logp_pre_train)
    groups = [("all", -1, tokens)] + ([("body", -1, tokens[tokens.body])] if tokens.body.any() else [])
    reached = [rows for _, rows in tokens.groupby("position") if _rollouts(rows) >= REACHED]
    groups += [("all", int(rows["position"].iloc[0]), rows) for rows in reached]
    for part, position, rows in groups:
        where = {"part": part, "position": position, "tokens": len(rows), "rollouts": _rollouts(rows)}
        mean = estimate(*_cells(rows, "difference", own=True)) | _sizes(rows)
        yield where | {"quantity": "difference"} | mean
        yield where | {"quantity": "correlation"} | correlation(rows, estimate)


def _rollouts(rows: pd.DataFrame) -> int:
    return len(rows[["seed", "rollout"]].drop_duplicates())


def correlation(rows: pd.DataFrame, estimate: Estimator, level: float = 0.95) -> dict[str, Any]:
    """Pearson's correlation of the log-probabilities in both spaces, with an interval over seeds and problems."""
    x, y = (rows[name].to_numpy(dtype=float) for name in ("logp_post_train", "logp_pre_train"))
    columns = {"n": np.ones(len(x)), "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}

    def cells(columns: dict[str, Array]) -> Array:  # (seeds, problems, columns)
        table = rows[["seed", "problem"]].assign(**columns)
        return np.stack([_cells(table, name, own=True)[0] for name in columns], -1)

    def of(sums: Array) -> Array:
        n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (xy / n - x * y / n**2) / np.sqrt((xx / n - x**2 / n**2) * (yy / n - y**2 / n**2))

    moments = cells(columns)
    value, sizes = float(of(moments.sum((0, 1)))), _sizes(rows)
    seeds, problems = resample_weights(moments.shape[0], moments.shape[1], estimate.resamples, estimate.rng)
    resampled = of(np.einsum("rs,rp,spc->rc", seeds, problems, moments, optimize=True))
    if not np.isfinite(resampled).all():
        return {"estimate": value, "low": float("nan"), "high": float("nan")} | sizes
    zx, zy = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    of_token = zx * zy - value * (zx**2 + zy**2) / 2
    influence = cells({"influence": of_token})[..., 0] * moments[..., 0].size / len(rows)
    low, high = stretched_interval(value, resampled, influence, level)
    return {"estimate": value, "low": max(low, -1.0), "high": min(high, 1.0)} | sizes


def noises(
    noise: pd.DataFrame, halves: pd.DataFrame, aligned: pd.DataFrame, estimate: Estimator
) -> Iterator[dict[str, Any]]:
    """The cosine of log P(y) and log P(y|x) on the bases' rollouts, what it is to be compared with (the same response
    behind another prompt, and the excess over that; unrelated rollouts), with intervals over seeds and problems; and
    between mean gradients of halves of the problems, the mean over splits with their range as low and high. `aligned`
    is what `alignments` gave."""
    whole = aligned[(aligned.method == BASE) & (aligned.group == "whole") & (aligned.correct == "any")]
    for row in whole[whole.quantity.isin(["cosine", "other_prompt", "excess"])].to_dict("records"):
        found = {name: row[name] for name in ("estimate", "low", "high", "seeds", "problems")}
        yield {"part": row["part"], "of": "rollouts", "pair": row["quantity"], "count": row["rollouts"]} | found
    for part, rows in noise.groupby("part"):
        for pair in ("across", "within"):
            values = rows[rows[pair].notna()]
            found = estimate(*_cells(values, pair, own=True)) | _sizes(values)
            yield {"part": part, "of": "rollouts", "pair": pair, "count": len(values)} | found
    for part, rows in halves.groupby("part"):
        sizes = {"seeds": int(rows.seed.nunique()), "problems": _sizes(noise)["problems"]}
        for pair in ("within_post_train", "within_pre_train", "across", "across_halves"):
            found = {"estimate": rows[pair].mean(), "low": rows[pair].min(), "high": rows[pair].max()}
            yield {"part": part, "of": "halves", "pair": pair, "count": len(rows)} | found | sizes


def updates(batches: pd.DataFrame, estimate: Estimator) -> Iterator[dict[str, Any]]:
    """Means over the bases' training batches, with intervals over seeds and batches, of what the update is like that a
    method would make: its cosine with GRPO's on the same batch, its gradient's norm, and where responses restate their
    problem the share of its squared norm in the tokens that do. Batches without a signal have none: `skipped` counts
    them."""
    for method, rows in batches.groupby("method", sort=False):
        own, learnt = estimate.of(str(method)), rows[rows.used > 0]
        for quantity in ("cosine", "norm", "header_share"):
            values = learnt[learnt[quantity].notna()]
            if len(values) == 0:
                continue
            found = own(*_cells(values, quantity, own=True, unit="batch"))
            interval = {name: found[name] for name in ("estimate", "low", "high", "seeds")}
            counts = {"batches": len(values), "skipped": len(rows) - len(values)}
            yield {"method": method, "reference": REFERENCE, "quantity": quantity} | interval | counts
