"""Public problem sets (workflow/problems.yaml): fetched once, recognised by their checksums, read without network."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from prerl.config import Positive, Strict
from prerl.errors import UserError
from prerl.reading import check, read_yaml, sha256

ADDRESS = "https://raw.githubusercontent.com/{repository}/{revision}/{path}"


class PublicSet(Strict):
    """Where a set lies, and what its rows hold where: paths of keys and places, e.g. `prompt.1.content`."""

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    path: Annotated[str, Field(pattern=r"\.(jsonl|parquet)$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    question: str
    answer: str
    problems: Positive

    @property
    def address(self) -> str:
        return ADDRESS.format(**self.model_dump(include={"repository", "revision", "path"}))


def load_catalog(path: Path) -> dict[str, PublicSet]:
    """All sets of a file by name. Raises UserError that names file, set and key."""
    return {name: check(PublicSet, entry, f"{path}: {name}") for name, entry in read_yaml(path).items()}


def fetch(name: str, entry: PublicSet, data_dir: Path) -> Path:
    """The set's file in the directory, downloaded if it is not there. Raises UserError if it cannot be, or differs."""
    import pooch

    found = find(entry, data_dir)
    if found:
        return found
    target = data_dir / f"{name}{Path(entry.path).suffix}"
    try:
        pooch.retrieve(entry.address, f"sha256:{entry.sha256}", fname=target.name, path=data_dir)
    except ValueError as error:
        raise UserError(f"{entry.address}: what was downloaded has another checksum; nothing was kept") from error
    except OSError as error:  # requests' errors are OSErrors
        raise UserError(
            f"{entry.address}: cannot be downloaded ({type(error).__name__}); "
            f"without network, put the file into {data_dir}"
        ) from error
    return target


def find(entry: PublicSet, data_dir: Path) -> Path | None:
    """The file in the directory that has the set's checksum, whatever its name."""
    files = sorted(path for path in data_dir.glob(f"*{Path(entry.path).suffix}") if path.is_file())
    return next((path for path in files if sha256(path) == entry.sha256), None)


def read_set(name: str, entry: PublicSet, data_dir: Path) -> list[dict[str, str]]:
    """The distinct problems of a set in their order: id, question, answer (the gold one, or a worked solution).

    Raises UserError if the directory has no file with the set's checksum.
    """
    path = find(entry, data_dir)
    if path is None:
        changed = data_dir / f"{name}{Path(entry.path).suffix}"
        if changed.exists():
            raise UserError(f"{changed}: its checksum is not that of {name}; delete it and run `prerl fetch {name}`")
        raise UserError(
            f"{data_dir}: no file of {name} (sha256 {entry.sha256[:12]}...); with network, run "
            f"`prerl fetch {name} --data-dir {data_dir}`"
        )
    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True, dtype=False)
    answers: dict[str, str] = {}
    for row in rows.to_dict("records"):
        answers.setdefault(str(_at(row, entry.question)), str(_at(row, entry.answer)))
    if len(answers) != entry.problems:
        raise UserError(f"{path}: {len(answers)} distinct problems, but the catalogue says {entry.problems} of {name}")
    pairs = enumerate(answers.items())
    return [{"id": f"{name}-{place}", "question": question, "answer": answer} for place, (question, answer) in pairs]


def _at(row: Any, path: str) -> Any:
    """The value at a path of keys and places."""
    for step in path.split("."):
        row = row[int(step) if step.isdigit() else step]
    return row
