"""Base models as data, one a seed: committed beside a scale's baselines, so that a study starts from the same weights
everywhere.

Pretraining again would give others on another processor, which rounds otherwise; it also takes minutes. The paper too
starts from published models. `--config bases=fresh` pretrains all the same.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prerl.errors import UserError
from prerl.files.atomic import read_json, write
from prerl.files.checksums import checksums, intact
from prerl.files.record import RunRecord
from prerl.settings.model import CountdownProblems
from prerl.settings.reading import difference
from prerl.settings.scale import Scale

FILES = ("log.parquet", "model", "run.json")  # the record last: it says that the rest is there


def pretraining(scale: Scale, seed: int) -> dict[str, Any]:
    """All that the base model of a seed depends on: architecture, pretraining, and what the documents are about."""
    assert isinstance(scale.problems, CountdownProblems)  # the scale's check lets no other world pretrain
    world = scale.problems.model_dump(include={"largest_number", "restates"})
    return json.loads(json.dumps({"seed": seed, **scale.model_dump(include={"model", "pretrain"}), **world}))


def check_base(scale: Scale, bases: Path, seed: int) -> None:
    """Raises UserError if the committed base of a seed is damaged, or was pretrained by other settings than the
    scale's."""
    source = bases / f"seed{seed}"
    record = read_json(source / "run.json")
    if found := difference(record["config"], pretraining(scale, seed)):
        raise UserError(
            f"{source}: pretrained by other settings ({found}): undo the change, or pretrain by yours with "
            "--config bases=fresh"
        )
    for name in record["outputs"]:
        if not (source / name).is_file():
            raise UserError(f"{source / name}: missing; `git checkout {source}` brings it back")


def committed_bases(scale: Scale, bases: Path) -> dict[int, dict[str, str]]:
    """Every committed base by its seed, with the checksums of its files. Raises UserError if one is damaged, or
    was pretrained by other settings than the scale's."""
    found = {}
    for record in sorted(bases.glob("seed*/run.json")):
        seed = int(record.parent.name.removeprefix("seed"))
        check_base(scale, bases, seed)
        found[seed] = checksums([record.parent], bases)
    return found


def take_base(scale: Scale, bases: Path, seed: int, out: Path) -> None:
    """Writes the committed base of a seed to a directory: model/, log.parquet, and run.json, the record of this copy,
    which says in `made_by` what the base was pretrained with. Raises UserError if it is damaged, or was pretrained by
    other settings than the scale's."""
    record = RunRecord("base", pretraining(scale, seed))
    check_base(scale, bases, seed)
    source = bases / f"seed{seed}"
    original = read_json(source / "run.json")
    for name in original["outputs"]:
        intact(source / name, source / "run.json")
    _copy(source, out, FILES[:-1])
    made_by = {key: original[key] for key in ("commit", "versions", "hardware")}
    outputs = {"outputs": original["outputs"], "parameters": original["parameters"], "tokens": 0}
    record.write(out / "run.json", **outputs, made_by=made_by)


def keep_base(base: Path, committed: Path, out: Path) -> None:
    """Writes to `out`, to be committed, the base model that a study started from: as it was pretrained here, or, if it
    was taken from there, as it is committed."""
    taken = "made_by" in read_json(base / "run.json")
    _copy(committed if taken else base, out, FILES)


def _copy(source: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        if not (source / name).exists():  # the log, of one that was made elsewhere
            continue
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        write(out / name, lambda path, name=name, copy=copy: copy(source / name, path))
