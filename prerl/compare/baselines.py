"""Fixed baselines: what a new method is compared with, small enough to be committed and shared.

They hold the base models themselves, since another processor would pretrain others; counts instead of responses; and
what they were made with, so that nothing is compared that was not measured alike.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import AllRuns, Counts, read_counts
from prerl.analysis.provenance import differences, distinct, mixed, warn
from prerl.analysis.scores import BASE
from prerl.base.committed import keep_base
from prerl.errors import UserError
from prerl.files.atomic import read_json, write, write_json, write_table
from prerl.files.checksums import checksums, intact, read_table, sha256
from prerl.files.fingerprint import fingerprint
from prerl.settings.methods import Method
from prerl.settings.reading import difference
from prerl.settings.scale import Scale

RECORD = "baselines.json"
JUDGES = {"countdown": "prerl.problems.countdown", "public": "prerl.verify"}


def write_baselines(scale: Scale, methods: dict[str, Method], lexicon: Lexicon, results: Path, out: Path) -> None:
    """Reduces the base's and all methods' runs under `results` (from the seeds of the baselines) to

    out/bases/           the base models with their records, that of the tuning among them, unless there is a
                         published one, the same everywhere
    out/tests.parquet    method, seed, benchmark, problem: n responses, how many were correct and finished, their
                         tokens and the occurrences of each behaviour, summed
    out/dev.parquet      method, seed, step, problem: those numbers of the dev responses; entropy in nats a token
    out/updates.parquet  the training logs: method, seed, and a row an update as in log.parquet
    out/tables/, out/learning_curves.png   of the main study, to be read
    out/sensitivity/     what `prerl sensitivity` left there, unchanged
    out/baselines.json   the record: identity (what a comparison must have in common), every method, what it was tuned
                         to, what was tried; cost and selected step of every run; what made them; other files' checksums
    """
    seeds = {name: [*scale.seeds, *(scale.more_seeds if name == "grpo" else [])] for name in methods}
    runs = {(name, seed): results / name / f"seed{seed}" for name in methods for seed in seeds[name]}
    base_seeds = sorted({scale.base_of(seed) for _, seed in runs})
    bases = {seed: results / BASE / f"seed{seed}" for seed in base_seeds}
    kept = dict(bases)
    if scale.tuning and (base := results / BASE / f"seed{scale.base_of(scale.tuning.base_seed)}").is_dir():
        kept[scale.base_of(scale.tuning.base_seed)] = base
    tests = {**{(BASE, seed): base for seed, base in bases.items()}, **runs}
    tables = {
        "tests": {key: _kept(read_counts(run / "samples.parquet", lexicon)) for key, run in tests.items()},
        "dev": {key: _with_entropy(read_counts(run / "dev.parquet", lexicon)) for key, run in runs.items()},
        "updates": {key: read_table(run / "log.parquet") for key, run in runs.items()},
    }
    trained, tested = ([read_json(run / name) for run in runs.values()] for name in ("run.json", "evaluate.json"))
    commits = distinct([*trained, *tested], "commit")
    warn(results, mixed([trained, tested]))
    record = {
        "scale": results.name,
        "identity": identity(scale),
        "base": {
            "parameters": read_json(bases[base_seeds[0]] / "run.json")["parameters"],
            "sha256": {
                str(seed): sha256(intact(base / "model/model.safetensors", base / "run.json"))
                for seed, base in kept.items()
            },
        },
        "problems": {
            name: sha256(results / "problems" / f"{name}.jsonl") for name in ["dev", *scale.problems.benchmarks]
        },
        "seeds": scale.seeds,
        "more_seeds": scale.more_seeds,
        "methods": {name: method.model_dump() for name, method in methods.items()},
        "tuning": scale.tuning.model_dump() if scale.tuning else None,
        "tuned": {name: scale.tuned[name].model_dump() for name in methods if name in scale.tuned},
        "runs": [cost(name, seed, run) for (name, seed), run in runs.items()],
        "made_with": {
            "settings": _settings(scale),
            "versions": distinct([*trained, *tested], "versions"),
            "hardware": distinct([*trained, *tested], "hardware"),
            "commit": commits[0]["commit"] if len(commits) == 1 else None,
            "code": _code(scale),
            "lexicon": lexicon.model_dump(),
        },
    }

    def produce(path: Path) -> None:
        path.mkdir()
        if scale.pretrain:
            for seed, base in kept.items():
                keep_base(base, out / f"bases/seed{seed}", path / f"bases/seed{seed}")
        (path / "tables").mkdir()
        for table in sorted((results / "tables").glob("*.md")):
            shutil.copy(table, path / "tables")
        shutil.copy(results / "figures/learning_curves.png", path)
        for name, parts in tables.items():
            rows = [table.assign(method=method, seed=seed) for (method, seed), table in parts.items()]
            write_table(path / f"{name}.parquet", _small(pd.concat(rows, ignore_index=True)))
        write_json(path / RECORD, record | {"files": checksums([path], path)})
        if (out / "sensitivity").is_dir():  # it may be made anew without the baselines, and so is not among their files
            shutil.copytree(out / "sensitivity", path / "sensitivity")

    write(out, produce)


def cost(method: str, seed: int, run: Path) -> dict[str, Any]:
    """What a run took, and the update that was selected: a row of costs.parquet."""
    trained, evaluated = read_json(run / "run.json"), read_json(run / "evaluate.json")
    keys = ("selected_step", "updates", "skipped_updates", "stopped_without_signal", "tokens")
    seconds = {"train_seconds": trained["wall_seconds"], "evaluate_seconds": evaluated["wall_seconds"]}
    return {"method": method, "seed": seed, **{key: trained[key] for key in keys}, **seconds}


def identity(scale: Scale) -> dict[str, Any]:
    """What two methods must have in common to be compared, in four parts."""
    judge = {"code": fingerprint(JUDGES[scale.problems.world])}
    if scale.problems.world == "public":
        judge["sympy"] = version("sympy")
    settings = scale.model_dump(include={"model", "pretrain", "start_token", "rl"})
    settings["rl"].pop("micro_batch")  # the gradient is the same for any, but for rounding
    return json.loads(
        json.dumps(
            {
                "scale": settings,
                "problem sets": scale.problems.model_dump(),
                "sampling settings": scale.evaluation.model_dump(),
                "verifier": judge,
            }
        )
    )


def _settings(scale: Scale) -> dict[str, Any]:
    """How a scale's jobs compute, which may differ between what is compared, but is warned of: it changes how sums are
    rounded, not what is computed."""
    return {"threads": scale.threads, "micro_batch": scale.rl.micro_batch, "engine": scale.engine.model_dump()}


class Baselines:
    """Committed baselines, whole and as they were written. Raises UserError if they are missing or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / RECORD).is_file():
            raise UserError(
                f"{path}: no baselines of this scale; `git checkout results/baselines` brings committed ones back, "
                "`snakemake --cores all baselines` makes them"
            )
        self.record = read_json(path / RECORD)
        for name, checksum in self.record["files"].items():
            if not (path / name).is_file() or sha256(path / name) != checksum:
                raise UserError(f"{path / name}: missing or damaged; take it again from where the baselines came")
        self.seeds: list[int] = self.record["seeds"]

    def seeds_of(self, method: str) -> list[int]:
        """The seeds of a method's runs, those that all methods have first; none if there is no such method."""
        own = [row["seed"] for row in self.record["runs"] if row["method"] == method]
        return sorted(own, key=lambda seed: (seed not in self.seeds, seed))

    def check_fit(self, scale: Scale) -> None:
        """Raises UserError if what is made at this scale must not be compared with the baselines."""
        for part, here in identity(scale).items():
            if found := difference(self.record["identity"][part], here):
                raise UserError(
                    f"{self.path}: differs in {part} ({found}): not comparable; undo the change, or make "
                    "the baselines anew with `snakemake --cores all baselines`"
                )

    def check_inputs(self, results: Path, bases: list[int]) -> None:
        """Raises UserError if the base models of these seeds or the problem sets under `results` are not those of the
        baselines."""
        wanted = {f"problems/{name}.jsonl": checksum for name, checksum in self.record["problems"].items()}
        made = self.record["base"]["sha256"]
        wanted |= {f"{BASE}/seed{seed}/model/model.safetensors": made.get(str(seed)) for seed in bases}
        for name, checksum in wanted.items():
            if sha256(results / name) != checksum:
                raise UserError(f"{results / name}: not what {self.path} was made from: not comparable")

    def made_with(self) -> dict[str, list[dict[str, Any]]]:
        """Every set of versions and of hardware that baselines were made with, by those two words, with the number of
        jobs of each; where baselines were committed when one set stood for all, without it."""
        made = self.record["made_with"]
        return {
            key: made[key] if isinstance(made[key], list) else [{key: made[key]}] for key in ("versions", "hardware")
        }

    def warnings(self, scale: Scale, lexicon: Lexicon | None, records: list[dict[str, Any]]) -> list[str]:
        """What differs in the records of runs at a scale from what the baselines were made with, and may matter."""
        made = self.record["made_with"]
        there = [one for sets in self.made_with().values() for one in sets] + [{"settings": made.get("settings", {})}]
        found = differences([*records, {"settings": _settings(scale)}], there)
        if made["code"] != _code(scale):
            found.append("the code that samples and learns has changed since")
        if lexicon and made["lexicon"] != lexicon.model_dump():
            found.append("the lexicon of behaviours has changed since")
        return found

    def methods(self) -> dict[str, Method]:
        return {name: Method.model_validate(method) for name, method in self.record["methods"].items()}

    def tests(self) -> AllRuns:
        return _by_run(pd.read_parquet(self.path / "tests.parquet"))

    def updates(self, method: str, seed: int) -> pd.DataFrame:
        """The training log of a run: the columns of its log.parquet, with method and seed."""
        rows = pd.read_parquet(self.path / "updates.parquet")
        return rows[(rows.method == method) & (rows.seed == seed)].reset_index(drop=True)

    def dev(self) -> AllRuns:
        table = pd.read_parquet(self.path / "dev.parquet")
        return _by_run(table.assign(nats=table["entropy"] * table["tokens"]).drop(columns="entropy"))


def _kept(counts: Counts) -> pd.DataFrame:
    """What is committed of counts: whole numbers alone."""
    return counts.drop(columns=["nats", "majority"], errors="ignore")


def _with_entropy(counts: Counts) -> pd.DataFrame:
    """The same, and the mean entropy in nats a token, which keeps its digits in single precision as a sum would not."""
    return _kept(counts).assign(entropy=counts["nats"] / counts["tokens"])


def _small(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers in half their size, keys first."""
    keys = ["method", "seed"]
    kinds = {name: np.float32 for name in table.select_dtypes("float64")}
    kinds |= {name: np.int32 for name in table.select_dtypes("int64")}
    return table[[*keys, *table.columns.drop(keys)]].astype(kinds)


def _by_run(table: pd.DataFrame) -> AllRuns:
    found: AllRuns = {}
    for method in table["method"].unique():
        runs = table.loc[table["method"] == method].drop(columns="method")
        found[method] = {
            int(seed): runs.loc[runs["seed"] == seed].drop(columns="seed").reset_index(drop=True)
            for seed in runs["seed"].unique()
        }
    return found


def _code(scale: Scale) -> str:
    """Of what samples, scores and learns."""
    return fingerprint("prerl.model.rollout", "prerl.engines.update", JUDGES[scale.problems.world])
