"""Checksums: a file that is no longer what a stage wrote is named, set aside, and made anew by the next run.

What was written is listed with its sha256 under `outputs` of a JSON file beside it: the record of the stage or, of a
directory that is no stage's result (a checkpoint), a file of its own, the seal.
"""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

SEAL = "checksums.json"
RECORDS = ("run.json", "evaluate.json", "alignment.json")  # of the stages that write into one directory


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """sha256 of the files, and of those in the directories, by their paths below `root`."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {file.relative_to(root).as_posix(): sha256(file) for file in files if file.is_file()}


def intact(path: Path, *records: Path) -> Path:
    """The path of a file that is as the one of the records that lists it says. Where there is no record, or none lists
    anything, as beside a model of one's own, the file is trusted.

    Raises UserError if it is not there; if it differs, and then it is set aside, so that Snakemake makes it anew; or if
    the records list other files but not this one.
    """
    if not path.is_file():
        raise UserError(f"{path}: not found; run the stage that makes it")
    listed = {record: outputs for record in records if record.is_file() and (outputs := _outputs(record))}
    for record, outputs in listed.items():
        if checksum := outputs.get(path.relative_to(record.parent).as_posix()):
            try:
                _check(path, checksum, record)
            except UserError as error:
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                raise UserError(
                    f"{error}; it is {aside.name} now: run the same command again to make it anew"
                ) from None
            return path
    if listed:
        names = ", ".join(record.name for record in listed)
        raise UserError(f"{path}: no stage's record has its checksum ({names}); run the stage that makes it again")
    return path


def read_table(path: Path, **options: Any) -> "pd.DataFrame":
    """A table that a stage wrote. Raises UserError if it is not there; or if it is not what the stage's record says,
    and then it is set aside, see `intact`."""
    import pandas as pd  # half a second, which what reads no table need not wait

    return pd.read_parquet(intact(path, *(path.parent / name for name in RECORDS)), **options)


def seal(directory: Path) -> None:
    """Leaves the checksums of its files in a directory."""
    write_json(directory / SEAL, {"outputs": checksums([directory], directory)})


def broken(directory: Path, dropped: tuple[str, ...] = ()) -> bool:
    """Whether a sealed directory is not as it was, or holds a file that its seal does not list; says on stderr which
    file. Those `dropped` may be gone."""
    record = directory / SEAL
    try:
        listed = _outputs(record)
        for name, checksum in listed.items():
            if (directory / name).is_file() or name not in dropped:
                _check(directory / name, checksum, record)
        for path in sorted(directory.rglob("*")):
            if path.is_file() and path != record and path.relative_to(directory).as_posix() not in listed:
                raise UserError(f"{path}: not listed in {SEAL}")
    except UserError as error:
        print(f"prerl: {error}; not used", file=sys.stderr, flush=True)
        return True
    return False


def _outputs(record: Path) -> dict[str, str]:
    """What a record or seal lists: checksums by paths below its directory."""
    return read_json(record).get("outputs", {})


def _check(path: Path, checksum: str, record: Path) -> None:
    """Raises UserError if a file is not there, or not what its record says."""
    if not path.is_file():
        raise UserError(f"{path}: missing")
    if sha256(path) != checksum:
        raise UserError(f"{path}: damaged (its checksum is not the one in {record.name})")
