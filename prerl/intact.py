"""Checksums: a file that is no longer what a stage wrote is named, set aside, and made anew by the next run."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.errors import UserError
from prerl.reading import sha256
from prerl.records import read_json, write_json

SEAL = "checksums.json"
# The record that holds the checksum of a stage's table; that of all others is run.json.
RECORDS = {"samples": "evaluate.json"} | dict.fromkeys(("alignment", "positions", "noise", "halves"), "alignment.json")


def checksums(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """sha256 of the files, and of those in the directories, by their paths below `root`."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {file.relative_to(root).as_posix(): sha256(file) for file in files if file.is_file()}


def intact(path: Path, record: Path) -> Path:
    """The path of a file that is as the record of the stage that wrote it says; one without a record is trusted.

    Raises UserError if it is not there, or differs. It is then set aside, so that Snakemake makes it anew.
    """
    if not path.is_file():
        raise UserError(f"{path}: not found; run the stage that makes it")
    wanted = read_json(record).get("outputs", {}) if record.is_file() else {}
    wanted = wanted.get(path.relative_to(record.parent).as_posix())
    if wanted is None or sha256(path) == wanted:
        return path
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    raise UserError(
        f"{path}: damaged (its checksum is not the one in {record.name}); it is {aside.name} now: run the same "
        "command again to make it anew"
    )


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A table that a stage wrote. Raises UserError if it is missing or damaged."""
    return pd.read_parquet(intact(path, path.parent / RECORDS.get(path.stem, "run.json")), **options)


def seal(directory: Path) -> None:
    """Leaves the checksums of its files in a directory."""
    write_json(directory / SEAL, checksums([directory], directory))


def broken(directory: Path, dropped: tuple[str, ...] = ()) -> bool:
    """Whether a sealed directory is not as it was; says on stderr which file. Those `dropped` may be gone."""
    try:
        wanted = read_json(directory / SEAL)
        for name, checksum in wanted.items():
            file = directory / name
            if not (file.is_file() or name in dropped):
                raise UserError(f"{file}: missing")
            if file.is_file() and sha256(file) != checksum:
                raise UserError(f"{file}: damaged (its checksum is not the one in {SEAL})")
    except UserError as error:
        print(f"prerl: {error}; not used", file=sys.stderr, flush=True)
        return True
    return False
