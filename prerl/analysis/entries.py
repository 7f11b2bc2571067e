"""Entries: comparisons that others contributed, as they are committed. Reading one runs none of its code.

An entry is a stranger's: its record is checked key by key, its files by their checksums, and a file that it does not
list, such as Python's bytecode in place of a source that can be read, is refused.
"""

import datetime
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.files.checksums import sha256
from prerl.settings.reading import check
from prerl.settings.tuning import Tuned
from prerl.settings.values import Name, Number, Positive, Seed, Strict

RECORD = "entry.json"
METHOD = "method.yaml"
TABLES = ("tests", "dev", "updates")  # in the baselines' form
LIMIT = 2_000_000  # bytes of an entry

Text = Annotated[str, Field(min_length=1, max_length=200)]
Sum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
File = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # in the entry's directory itself


class Against(Strict):
    """A comparison with GRPO over all benchmarks that count, in shares."""

    accuracy: Number  # the method's own
    estimate: Number  # less GRPO's
    low: Number  # at 95 %
    high: Number
    level: Number  # that allows for the variants and looks
    sure_low: Number
    sure_high: Number
    detectable: Number  # at that level, with a chance of 80 %
    verdict: Literal["better", "worse", "undecided"]


class MadeWith(Strict):
    """What an entry's runs were made with, as in the record of baselines."""

    settings: dict[str, Any]
    versions: list[dict[str, Any]]
    hardware: list[dict[str, Any]]
    commit: str | None
    code: str
    lexicon: dict[str, Any]


class Entry(Strict):
    """The record of an entry, entry.json."""

    name: Name
    label: Text
    author: Text | None
    date: datetime.date
    scale: Name
    baselines: Sum  # of the files of those that it was compared with
    identity: dict[str, Any]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    look: Annotated[int, Field(ge=1, le=3)] | None
    variants: Positive  # that its author has tried
    method: Sum  # see prerl.compare.ledger
    tuned: Tuned | None
    made_with: MadeWith
    comparison: Against
    files: dict[File, Sum]

    @property
    def code(self) -> list[str]:
        """Files of its author's own functions."""
        return [name for name in self.files if name.endswith(".py")]


def read_entry(directory: Path) -> Entry:
    """The record of an entry. Raises UserError if there is none, or it is malformed."""
    path = directory / RECORD
    if not path.is_file():
        raise UserError(f"{directory}: no entry: it has no {RECORD}; `prerl submit` makes one")
    entry = check(Entry, read_json(path), str(path))
    if entry.name != directory.resolve().name:
        raise UserError(f"{path}: name: {entry.name}: the directory has another name")
    wanted = {METHOD, *(f"{name}.parquet" for name in TABLES)}
    if wrong := sorted(wanted ^ (set(entry.files) - set(entry.code))):
        raise UserError(f"{path}: files: {wrong[0]}: {'missing' if wrong[0] in wanted else 'no file of an entry'}")
    return entry


def check_files(directory: Path, entry: Entry) -> None:
    """Raises UserError if a file of an entry is missing or is not what its record says, if there is one that the record
    does not list, or if all together are too large."""
    for name, checksum in entry.files.items():
        path = directory / name
        if not path.is_file() or path.is_symlink() or sha256(path) != checksum:
            raise UserError(f"{path}: missing or changed: its checksum is not the one in {RECORD}")
    for path in sorted(directory.iterdir()):
        if path.name != RECORD and path.name not in entry.files:
            raise UserError(f"{path}: not listed in {RECORD}: delete it")
    check_size(directory)


def check_size(directory: Path) -> None:
    """Raises UserError if the files of an entry are too large to be committed."""
    size = sum(path.stat().st_size for path in directory.iterdir())
    if size > LIMIT:
        raise UserError(f"{directory}: {size / 1e6:.1f} MB: an entry has at most {LIMIT / 1e6:.0f} MB")


def data_of(record: Path) -> str:
    """sha256 of all files of the baselines whose record this is, but not of what else the record says of them."""
    files = read_json(record)["files"]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def comparable(directory: Path, scale: str, record: Path) -> tuple[list[Entry], list[str]]:
    """The entries of a scale that were compared with the baselines whose record this is, the best first, and the names
    of those that were compared with others. Raises UserError if one is malformed."""
    entries = [read_entry(path.parent) for path in sorted(directory.glob(f"[!.]*/{RECORD}"))]
    entries = [entry for entry in entries if entry.scale == scale]
    own = data_of(record) if record.is_file() else None
    alike = [entry for entry in entries if entry.baselines == own]
    alike.sort(key=lambda entry: -entry.comparison.estimate)
    return alike, [entry.name for entry in entries if entry.baselines != own]
