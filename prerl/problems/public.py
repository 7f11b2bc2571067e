"""Public problem sets (workflow/problems.yaml): fetched once, recognised by their checksums, read without network."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prerl.errors import UserError
from prerl.files.atomic import read_jsonl
from prerl.files.checksums import sha256
from prerl.settings.reading import check, read_yaml
from prerl.settings.values import Integer, Positive, Strict

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
    unanswered: Annotated[Integer, Field(ge=0)] = 0  # beside these, published without an answer: they are left out

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
    """The distinct problems of a set in their order: id, question, answer (the gold one, or a worked solution). The id
    counts all that were published; those without an answer are left out.

    Raises UserError if the directory has no file with the set's checksum, or its rows are not what the catalogue says.
    """
    answers = _answers(name, entry, _file(name, entry, data_dir))
    pairs = enumerate(answers.items())
    rows = [{"id": f"{name}-{place}", "question": question, "answer": answer} for place, (question, answer) in pairs]
    return [row for row in rows if row["answer"]]


def _file(name: str, entry: PublicSet, data_dir: Path) -> Path:
    """The set's file in the directory. Raises UserError, which says how to get it, if there is none."""
    path = find(entry, data_dir)
    if path is None:
        changed = data_dir / f"{name}{Path(entry.path).suffix}"
        if changed.exists():
            raise UserError(f"{changed}: its checksum is not that of {name}; delete it and run `prerl fetch {name}`")
        raise UserError(
            f"{data_dir}: no file of {name} (sha256 {entry.sha256[:12]}...); with network, run "
            f"`prerl fetch {name} --data-dir {data_dir}`"
        )
    return path


def _answers(name: str, entry: PublicSet, path: Path) -> dict[str, str]:
    """The answer to each distinct question of a file, in its order; "" where it was published without one."""
    from pyarrow import parquet

    rows = parquet.read_table(path).to_pylist() if path.suffix == ".parquet" else read_jsonl(path)
    answers: dict[str, str] = {}
    unanswered: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        question, answer = (_text(row, keys, f"{path}: row {number}") for keys in (entry.question, entry.answer))
        if not question:
            raise UserError(f"{path}: row {number}: {entry.question} is empty: a problem needs a question")
        if not answer:
            unanswered.setdefault(question, number)
        answers.setdefault(question, answer)
    if len(unanswered) != entry.unanswered:
        first = f"row {min(unanswered.values())}: {entry.answer} is empty: " if unanswered else ""
        raise UserError(
            f"{path}: {first}of {name} {len(unanswered)} have no answer, but the catalogue says {entry.unanswered} "
            "(unanswered)"
        )
    if (count := len(answers) - len(unanswered)) != entry.problems:
        raise UserError(f"{path}: {count} distinct problems, but the catalogue says {entry.problems} of {name}")
    return answers


def _text(row: Any, keys: str, where: str) -> str:
    """The text or number at a path of keys and places, "" for null. Raises UserError if there is no such place, or
    something else."""
    value = row
    for step in keys.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise UserError(f"{where}: no {keys}, where the catalogue says that question or answer stands")
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where}: {keys} is a {type(value).__name__}, expected a text or a number")
    return str(value) if str(value).strip() else ""
