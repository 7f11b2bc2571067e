"""Fixed baselines: what a new method is compared with, small enough to be committed and shared.

They hold the base models themselves, since another processor would pretrain others; counts instead of responses; and
what they were made with, so that nothing is compared that was not measured alike.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import AllRuns
from prerl.analysis.provenance import differences
from prerl.analysis.scores import BASE
from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.files.checksums import sha256
from prerl.files.fingerprint import fingerprint
from prerl.settings.methods import Method
from prerl.settings.reading import difference
from prerl.settings.scale import Scale

RECORD = "baselines.json"
JUDGES = {"countdown": "prerl.problems.countdown", "arithmetic": "prerl.verify", "public": "prerl.verify"}


def identity(scale: Scale) -> dict[str, Any]:
    """What two methods must have in common to be compared, in four parts."""
    judge = {"code": fingerprint(JUDGES[scale.problems.world])}
    if scale.problems.chat:
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


def settings_of(scale: Scale) -> dict[str, Any]:
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
        jobs of each."""
        return {key: self.record["made_with"][key] for key in ("versions", "hardware")}

    def warnings(self, scale: Scale, lexicon: Lexicon | None, records: list[dict[str, Any]]) -> list[str]:
        """What differs in the records of runs at a scale from what the baselines were made with, and may matter."""
        return made_otherwise(self.record["made_with"], scale, lexicon, records)

    def methods(self) -> dict[str, Method]:
        return {name: Method.model_validate(method) for name, method in self.record["methods"].items()}

    def tests(self) -> AllRuns:
        return by_run(pd.read_parquet(self.path / "tests.parquet"))

    def updates(self, method: str, seed: int) -> pd.DataFrame:
        """The training log of a run: the columns of its log.parquet, with method and seed."""
        rows = pd.read_parquet(self.path / "updates.parquet")
        return rows[(rows.method == method) & (rows.seed == seed)].reset_index(drop=True)

    def dev(self) -> AllRuns:
        table = pd.read_parquet(self.path / "dev.parquet")
        return by_run(table.assign(nats=table["entropy"] * table["tokens"]).drop(columns="entropy"))


def by_run(table: pd.DataFrame) -> AllRuns:
    """The counts of every run, from a table of them all with the columns method and seed."""
    found: AllRuns = {}
    for method in table["method"].unique():
        runs = table.loc[table["method"] == method].drop(columns="method")
        found[method] = {
            int(seed): runs.loc[runs["seed"] == seed].drop(columns="seed").reset_index(drop=True)
            for seed in runs["seed"].unique()
        }
    return found


def made_otherwise(
    made: dict[str, Any], scale: Scale, lexicon: Lexicon | None, records: list[dict[str, Any]]
) -> list[str]:
    """What differs in the records of runs at a scale, a sentence each, from what others were `made_with` by the record
    of baselines or of an entry."""
    there = [*made["versions"], *made["hardware"], {"settings": made["settings"]}]
    found = differences([*records, {"settings": settings_of(scale)}], there)
    if made["code"] != code_of(scale):
        found.append("the code that samples and learns has changed since")
    if lexicon and made["lexicon"] != lexicon.model_dump():
        found.append("the lexicon of behaviours has changed since")
    return found


def code_of(scale: Scale) -> str:
    """A fingerprint of what samples, scores and learns."""
    return fingerprint("prerl.model.rollout", "prerl.engines.update", JUDGES[scale.problems.world])
