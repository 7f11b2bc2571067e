"""Summaries made so that every claim of the paper is reproduced, and changes to them."""

from pathlib import Path

import numpy as np
import pandas as pd

from prerl.analysis.courses import FINISHED, OWN_BEST
from prerl.analysis.study import Study
from prerl.files.atomic import write_json, write_table
from prerl.settings.methods import Method
from tests.helpers import PAPER

SIZES = {"seeds": 5, "problems": 128, "freedom": 10.0}


def number(estimate, reach):
    return {"estimate": estimate, "low": estimate - reach, "high": estimate + reach, **SIZES}


def comparison(method, reference, benchmark, points, metric="avg", reach=1.0):
    where = {"method": method, "reference": reference, "benchmark": benchmark, "metric": metric, "n": 16}
    return where | number(points / 100, reach / 100)


def change(method, window, reference, points, reach=1.0):
    where = {"method": method, "quantity": "accuracy", "window": window, "reference": reference}
    return where | number(points / 100, reach / 100)


def speed(method, target, estimate, reach=0.1):
    speedup = {f"speedup_{name}": value for name, value in number(estimate, reach).items() if name not in SIZES}
    return {"method": method, "target": target, **number(20, 2), **speedup, "speedup_freedom": 10.0}


def ratio(method, quantity, reference, estimate, reach=0.1, count=99, step=40):
    where = {"method": method, "quantity": quantity, "reference": reference, "step": step}
    return where | {"count": 99, "reference_count": count} | number(estimate, reach)


def cosine(method, estimate):
    found = {"method": method, "reference": "grpo", "quantity": "cosine", "batches": 12, "seeds": 5}
    return found | {"estimate": estimate, "low": estimate - 0.05, "high": estimate + 0.05}


def gradients(quantity, method, step, estimate):
    where = {"method": method, "step": step, "part": "all", "group": "whole", "correct": "any", "quantity": quantity}
    return where | {"rollouts": 400, "seeds": 5, "problems": 98} | number(estimate, 0.0 if estimate == 0 else 0.05)


def noise(pair, estimate):
    return {"part": "all", "of": "rollouts", "pair": pair, "count": 400} | number(estimate, 0.02)


def warm_up(method, length, estimate, contrast):
    where = {"benchmark": "countdown", "method": method, "length": length, "share": length / 120, "contrast": contrast}
    return where | number(estimate, 0.01)


def rollouts(negative=0, size=400):
    products = np.where(np.arange(size) < negative, -1.0, 1.0)
    return pd.DataFrame({"part": "all", "seed": 0, "problem": np.arange(size) // 4, "inner_product": products})


LENGTHS = {"grpo": 0, "dsrl-half": 5, "dsrl": 10, "dsrl-double": 20, "dsrl-quadruple": 40}
SOONER = {"25 %": 0.5, "50 %": 2.5, "75 %": 1.6, "90 %": 1.2}
# A study in which the paper is right in all.
TABLES = {
    "comparisons": [
        comparison("dsrl", "grpo", "countdown", 2),
        comparison("dsrl", "base", "countdown", 20),
        comparison("dsrl", "nsr-rl-grpo", "countdown", 3),
        comparison("nsr-rl-grpo", "grpo", "countdown", -1.5),
        comparison("dsrl", "grpo", "countdown-ood", 2),
        comparison("dsrl", "base", "countdown-ood", 4),
        *(
            comparison("dsrl", reference, benchmark, 3, "pass")
            for reference in ("grpo", "base")
            for benchmark in ("countdown", "countdown-hard")
        ),
    ],
    "changes": [
        change("psr-prerl", "end", "base", -5),
        change("psr-prerl", "end", "psr-rl", -9),
        change("prerl", "before the peak", "grpo", -2),
        change("prerl", "after the peak", "peak", -20),
        change("grpo", "after the peak", "peak", -1),
        change("nsr-prerl", "peak", "base", 8),
    ],
    "speeds": [
        speed("nsr-prerl", OWN_BEST, 3.05),
        *(speed("dsrl", target, times) for target, times in SOONER.items()),
    ],
    "ratios": [
        *(
            ratio("nsr-prerl", quantity, reference, value)
            for quantity, pair in {"transition": (14.85, 3), "reflection": (6.5, 2), FINISHED: (2, 1.5)}.items()
            for reference, value in zip(("base", "grpo"), pair, strict=True)
        ),
        *(ratio("grpo", quantity, "base", 5, step=120) for quantity in ("transition", "reflection")),
    ],
    "noise": [noise("excess", 0.3), noise("other_prompt", 0.14)],
    "updates": [cosine("nsr-prerl", 0.5), cosine("nsr-rl, other prompts", 0.2)],
    "alignment": [gradients("cosine", "base", 0, 0.44), gradients("negative", "dsrl", 40, 0.0)],
    "warm_ups": [
        *(warm_up(name, length, 0.5, False) for name, length in LENGTHS.items()),
        *(warm_up(name, length, 0.03, True) for name, length in LENGTHS.items() if name != "dsrl"),
    ],
    "scores": [
        {"method": name, "benchmark": benchmark, "metric": "pass", "k": 16, "n": 16, "estimate": 0.8}
        for name in ("base", "grpo", "dsrl")
        for benchmark in ("countdown", "countdown-hard")
    ],
}


def write_forced(
    summary: Path, methods: dict[str, Method], negative: int = 0, size: int = 400, leave: tuple = (), **other: list
) -> Study:
    """Writes TABLES, with other rows for those named, and `size` rollouts, of which so many are `negative`; without the
    methods to `leave`."""
    for name, rows in (TABLES | other).items():
        write_table(summary / f"{name}.parquet", pd.DataFrame(rows))
    write_table(summary / "rollouts.parquet", rollouts(negative, size))
    roles = {"in_domain": ["countdown"], "hard": "countdown-hard", "out_of_domain": "countdown-ood"}
    names = [name for name in (*PAPER, *LENGTHS) if name not in leave]
    write_json(summary / "scale.json", {"methods": [*dict.fromkeys(names)], "claims_on": roles})
    return Study(summary, methods)


def altered(name, *changes):
    """The rows of a table, those with the same words as one of the changes replaced by it."""

    def words(row):
        return {key: value for key, value in row.items() if isinstance(value, str | bool)}

    rows = [row for row in TABLES[name] if words(row) not in [words(change) for change in changes]]
    assert len(rows) == len(TABLES[name]) - len(changes), "a change replaces one row"
    return {name: [*rows, *changes]}
