"""Which variants were compared on a checkout: who tries many and reports the best needs wider intervals."""

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from prerl.files.atomic import read_jsonl, write_jsonl
from prerl.settings.methods import Method

LEDGER = "ledger.jsonl"


def checksum(method: Method) -> str:
    """sha256 of what a method does: its phases, and the sources of its functions in place of their files' names.

    Another label or description makes no other variant, nor does another place of the same file.
    """
    return checksum_of([phase.model_dump() for phase in method.phases], method.sources())


def checksum_of(phases: list[dict[str, Any]], functions: dict[str, str]) -> str:
    """The checksum of a method by what the record of a run says of it: its phases, and the sha256 of the sources of its
    functions by their places."""
    text = json.dumps(phases, sort_keys=True)
    for place, content in functions.items():
        text = text.replace(json.dumps(place), json.dumps([content, place.rpartition(":")[2]]))
    return hashlib.sha256(text.encode()).hexdigest()


def standing(path: Path, method: Method) -> tuple[int, int]:
    """Which variant of the ledger a method is, from 1, and how many there are with it. Raises UserError if the ledger
    is damaged."""
    known = [row["variant"] for row in _read(path)]
    own = checksum(method)
    return (known.index(own) + 1, len(known)) if own in known else (len(known) + 1, len(known) + 1)


def enter(path: Path, name: str, method: Method, seeds: list[int]) -> None:
    """Adds a line for a variant that the ledger does not have: its name, the day, and the replicates compared."""
    rows, own = _read(path), checksum(method)
    if own in [row["variant"] for row in rows]:
        return
    day = datetime.date.today().isoformat()
    write_jsonl(path, [*rows, {"variant": own, "name": name, "date": day, "replicates": len(seeds)}])


def _read(path: Path) -> list[dict[str, str | int]]:
    return read_jsonl(path) if path.is_file() else []
