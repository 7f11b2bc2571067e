"""From a study's runs to fixed baselines, as they are committed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import Counts, read_counts
from prerl.analysis.provenance import distinct, mixed, warn
from prerl.analysis.scores import BASE
from prerl.base.committed import keep_base
from prerl.compare.baselines import RECORD, code_of, identity, settings_of
from prerl.files.atomic import read_json, write, write_json, write_table
from prerl.files.checksums import checksums, intact, read_table, sha256
from prerl.settings.methods import Method
from prerl.settings.scale import Scale

Directories = dict[tuple[str, int], Path]  # of runs, by method and seed
SHOWN = ("accuracy", "comparison")  # tables that the page of a study of fewer methods shows


def write_baselines(scale: Scale, methods: dict[str, Method], lexicon: Lexicon, results: Path, out: Path) -> None:
    """Reduces the base's and all methods' runs under `results` (from the seeds of the baselines) to

    out/bases/           the base models with their records, that of the tuning among them, unless there is a
                         published one, the same everywhere
    out/tests.parquet    method, seed, benchmark, problem: n responses, how many were correct and finished, their
                         tokens and the occurrences of each behaviour, summed
    out/dev.parquet      method, seed, step, problem: those numbers of the dev responses; entropy in nats a token
    out/updates.parquet  the training logs: method, seed, and a row an update as in log.parquet
    out/tables/, out/learning_curves.png   of the main study, to be read, with its claims as CSV; tables that the study
                         of all baselines has too are of that one, those in SHOWN as JSON as well
    out/sensitivity/     what `prerl sensitivity` left there, unchanged
    out/baselines.json   the record: identity (what a comparison must have in common), every method, what it was tuned
                         to and what was tried; cost and selected step of every run; what the runs were made with;
                         commit; checksums of the other files
    """
    seeds = {name: [*scale.seeds, *(scale.more_seeds if name == "grpo" else [])] for name in methods}
    runs = {(name, seed): results / name / f"seed{seed}" for name in methods for seed in seeds[name]}
    base_seeds = sorted({scale.base_of(seed) for _, seed in runs})
    bases = {seed: results / BASE / f"seed{seed}" for seed in base_seeds}
    kept = dict(bases)
    if scale.tuning and (base := results / BASE / f"seed{scale.base_of(scale.tuning.base_seed)}").is_dir():
        kept[scale.base_of(scale.tuning.base_seed)] = base
    tables = tables_of({**{(BASE, seed): base for seed, base in bases.items()}, **runs}, runs, lexicon)
    warn(results, mixed([[read_json(run / name) for run in runs.values()] for name in ("run.json", "evaluate.json")]))
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
        "made_with": made_with(scale, lexicon, [*runs.values()]),
    }

    def produce(path: Path) -> None:
        path.mkdir()
        if scale.pretrain:
            for seed, base in kept.items():
                keep_base(base, out / f"bases/seed{seed}", path / f"bases/seed{seed}")
        study = results / "baselines" if scale.further else results
        (path / "tables").mkdir()
        of_main, of_all = (sorted((one / "tables").glob("*.md")) for one in (results, study))
        claims = (results / f"{name}.csv" for name in ("claims", "claim_parts"))
        for table in (*of_main, *of_all, *(study / f"tables/{name}.json" for name in SHOWN), *claims):
            shutil.copy(table, path / "tables")
        shutil.copy(results / "figures/learning_curves.png", path)
        for name, table in tables.items():
            write_table(path / f"{name}.parquet", table)
        write_json(path / RECORD, record | {"files": checksums([path], path)})
        if (out / "sensitivity").is_dir():  # it may be made anew without the baselines, and so is not among their files
            shutil.copytree(out / "sensitivity", path / "sensitivity")

    write(out, produce)


def tables_of(tests: Directories, runs: Directories, lexicon: Lexicon) -> dict[str, pd.DataFrame]:
    """What is committed of runs: `tests`, counts of the test responses of the first, and `dev` and `updates`, counts of
    the dev responses and training logs of the second; see `write_baselines` for the columns."""
    parts = {
        "tests": {key: _kept(read_counts(run / "samples.parquet", lexicon)) for key, run in tests.items()},
        "dev": {key: _with_entropy(read_counts(run / "dev.parquet", lexicon)) for key, run in runs.items()},
        "updates": {key: read_table(run / "log.parquet") for key, run in runs.items()},
    }
    found = {}
    for name, one in parts.items():
        rows = [table.assign(method=method, seed=seed) for (method, seed), table in one.items()]
        found[name] = _small(pd.concat(rows, ignore_index=True))
    return found


def made_with(scale: Scale, lexicon: Lexicon, runs: list[Path]) -> dict[str, Any]:
    """What runs were made with, by their records: settings, every set of versions and of hardware with its number of
    jobs, the commit (None if jobs differ), a fingerprint of the code, and the lexicon that counts behaviours."""
    records = [read_json(run / name) for name in ("run.json", "evaluate.json") for run in runs]
    commits = distinct(records, "commit")
    return {
        "settings": settings_of(scale),
        "versions": distinct(records, "versions"),
        "hardware": distinct(records, "hardware"),
        "commit": commits[0]["commit"] if len(commits) == 1 else None,
        "code": code_of(scale),
        "lexicon": lexicon.model_dump(),
    }


def cost(method: str, seed: int, run: Path) -> dict[str, Any]:
    """What a run took, and the update that was selected: a row of costs.parquet."""
    trained, evaluated = read_json(run / "run.json"), read_json(run / "evaluate.json")
    keys = ("selected_step", "updates", "skipped_updates", "stopped_without_signal", "tokens")
    seconds = {"train_seconds": trained["wall_seconds"], "evaluate_seconds": evaluated["wall_seconds"]}
    return {"method": method, "seed": seed, **{key: trained[key] for key in keys}, **seconds}


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
