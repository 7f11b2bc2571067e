"""Files that appear whole or not at all."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prerl.errors import UserError, lacking

if TYPE_CHECKING:
    import pandas as pd


def write(path: Path, produce: Callable[[Path], object]) -> None:
    """Calls `produce` with a temporary path (a file's or a directory's) and renames what it made to `path`. Raises
    UserError if the disk is full, or does not allow it; what was there before is then still there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        produce(partial)
        if path.is_dir():
            _remove(path)
        partial.replace(path)
    except Exception as error:
        with suppress(OSError):
            _remove(partial)
        if not isinstance(error, UserError) and (reason := lacking(error)):
            raise UserError(f"{path}: cannot be written: {reason}") from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    write(path, lambda partial: table.to_parquet(partial, index=False))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file. Raises UserError if it is missing or damaged."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the stage that makes it") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run again") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the stage that makes it") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run again") from error
