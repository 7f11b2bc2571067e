"""YAML files, checked: what is wrong with one is said in a line that names the file and the key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from prerl.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which alone would let a second key silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, (mark, _) in zip(keys, node.value, strict=True):
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key}: duplicate key (line {mark.start_mark.line + 1})")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError, in one line, if there is none."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys and values at the top level")
    return data


def check(model: type[Model], data: Any, where: str) -> Model:
    """`data` as a `model`. Raises UserError that names the place and the first wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = _key(first["loc"], data, first["type"] == "missing") or "(top level)"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key}: {message}{more}") from error


def difference(there: Any, here: Any, key: str = "") -> str | None:
    """The first key, at any depth, whose value differs, with both values; None if all are the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in {**there, **here}:
            found = difference(there.get(name), here.get(name), f"{key}.{name}" if key else name)
            if found:
                return found
        return None
    return None if there == here else f"{key}: {there} there, {here} here"


def _key(location: tuple[str | int, ...], data: Any, missing: bool) -> str:
    """The path of a key as the file has it, or of one that is `missing` there: pydantic names the kind of a section
    between its keys, and after them."""
    parts = []
    for place, part in enumerate(location):
        if isinstance(data, dict) and part not in data and not (missing and place == len(location) - 1):
            continue
        parts.append(str(part))
        data = data.get(part) if isinstance(data, dict) else data
    return ".".join(parts)
