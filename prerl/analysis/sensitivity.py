"""Sensitivity to what is tuned, and the choice. Needs no torch.

The rule, written before there were any results: of a method's candidates, the one with the highest dev accuracy at the
end, which is the mean over the evaluations in the last sixth of the updates and over all seeds of the tuning; one
evaluation alone would have more noise. Of equal ones, the nearest to 1, the method as its file has it, on a logarithmic
scale. A run that stopped for want of a signal keeps its last values. Every candidate has the same seeds.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from prerl.analysis.counts import read_counts
from prerl.analysis.curves import END
from prerl.errors import UserError
from prerl.files.atomic import write, write_json, write_table, write_text
from prerl.settings.methods import Method
from prerl.settings.scale import Scale
from prerl.settings.tuning import Tuned, Tuning

CANDIDATE = ["method", "learning_rate_factor", "warm_ups"]  # columns that name one


def summarize_tuning(scale: Scale, tuning: Tuning, methods: dict[str, Method], results: Path, out: Path) -> None:
    """Reduces the tuning runs of methods, given as their file has them, under results/METHOD/CANDIDATE/seedN to

    out/sensitivity.parquet  method, learning_rate_factor, warm_ups, seed, step, accuracy, tokens: dev evaluations
    out/choices.yaml         what was chosen, by method, in the form of a scale's section `tuned`
    out/scale.json           name, description, methods, seeds and steps

    Raises UserError if a run is missing or damaged.
    """
    curves = read_tuning(scale, tuning, methods, results)
    write_table(out / "sensitivity.parquet", curves)
    chosen = {name: given(tuned, tuning.candidates(methods[name])) for name, tuned in choose(curves).items()}
    write_text(out / "choices.yaml", yaml.safe_dump({"tuned": chosen}, sort_keys=False))
    content = {"name": results.parent.name, "description": scale.description, "methods": [*methods]}
    write_json(out / "scale.json", content | {"seeds": tuning.seeds, "steps": scale.rl.steps})


def keep_tuning(made: Path, kept: Path) -> None:
    """Writes to a directory what is committed of a tuning: its curves, its choices, and table and figure to be read."""
    files = ("summary/sensitivity.parquet", "summary/choices.yaml", "tables/sensitivity.md", "figures/sensitivity.png")

    def produce(path: Path) -> None:
        path.mkdir()
        for file in files:
            shutil.copy(made / file, path)

    write(kept, produce)


def read_tuning(scale: Scale, tuning: Tuning, methods: dict[str, Method], results: Path) -> pd.DataFrame:
    """A row a method, candidate, seed and evaluation step: dev accuracy, and tokens a response."""
    steps = range(0, scale.rl.steps + 1, scale.rl.checkpoint_every)
    tables = []
    for name, method in methods.items():
        for tuned in tuning.candidates(method):
            for seed in tuning.seeds:
                counts = read_counts(results / name / tuned.name / f"seed{seed}/dev.parquet")
                sums = counts.groupby("step")[["correct", "tokens", "n"]].sum()
                sums = sums.reindex(steps, method="ffill")  # of a run that stopped, its last
                shares = {"accuracy": sums["correct"] / sums["n"], "tokens": sums["tokens"] / sums["n"]}
                where = {"method": name, **tuned.model_dump(), "seed": seed, "step": steps}
                tables.append(pd.DataFrame(where | shares))
    return pd.concat(tables, ignore_index=True)


def ends(curves: pd.DataFrame) -> pd.DataFrame:
    """Dev accuracy at the end, a row a candidate in the order of the curves: mean, `lowest` and `highest` of the seeds,
    their number, and whether the rule chose the candidate of its method. Raises UserError if candidates of a method do
    not have the same seeds."""
    last = curves[curves["step"] > (1 - END) * curves["step"].max()]
    runs = last.groupby([*CANDIDATE, "seed"], sort=False)["accuracy"].mean().reset_index()
    for name, group in runs.groupby("method", sort=False):
        if len({tuple(sorted(one["seed"])) for _, one in group.groupby(CANDIDATE)}) > 1:
            raise UserError(f"sensitivity: {name}: its candidates were not all tried from the same seeds")
    grouped = runs.groupby(CANDIDATE, sort=False)["accuracy"]
    found = grouped.agg(accuracy="mean", lowest="min", highest="max", seeds="size").reset_index()
    distance = np.log(found["learning_rate_factor"]).abs() + np.log(found["warm_ups"]).abs()
    # Rounded, so that equal shares stay equal however their sums were rounded.
    order = found.assign(accuracy=found["accuracy"].round(9), distance=distance.round(9))
    order = order.sort_values(["accuracy", "distance", "learning_rate_factor"], ascending=[False, True, True])
    return found.assign(chosen=found.index.isin(order.drop_duplicates("method").index))


def choose(curves: pd.DataFrame) -> dict[str, Tuned]:
    """What the rule chooses for each method, in the order of the curves."""
    found = ends(curves)
    chosen = found.loc[found["chosen"], CANDIDATE].set_index("method").to_dict("index")
    return {str(method): Tuned.model_validate(values) for method, values in chosen.items()}


def given(tuned: Tuned, candidates: list[Tuned]) -> dict[str, float]:
    """The values as a file has them: without the length of a warm-up where a method has none."""
    lengths = {one.warm_ups for one in candidates}
    return tuned.model_dump(exclude={"warm_ups"} if len(lengths) == 1 else set())
