"""Fingerprints of code: what a stage's result depends on besides its inputs and its configuration."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# What these read enters a job as checked values, its parameters; so a new key elsewhere reruns nothing.
SETTINGS = ("prerl.settings", "prerl.errors")


def fingerprint(*modules: str) -> str:
    """A hash of the sources of the given modules and of every module of this package that they import, however deep,
    except those that check the configuration.

    Comments, docstrings and layout do not count: a stage is rerun when the meaning of its code changes. Every Python
    from 3.11 on gives the same hash. Reads files only, so it is cheap enough for a Snakefile. Raises ValueError if a
    module is not in the package.
    """
    digest = hashlib.sha256()
    for name, text in sorted(_closure(modules).items()):
        digest.update(f"{name}\n{text}\n".encode())
    return digest.hexdigest()[:16]


def _canonical(value: Any) -> str:
    """A syntax tree as text that does not depend on the Python that parsed it. `ast.dump` does: newer Pythons have
    fields that older ones lack (empty in what older ones can read), parse f-strings into other pieces, and know more
    characters as printable."""
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, ast.Constant):
        return f"{type(value.value).__name__}:{value.value!a}"
    if isinstance(value, ast.JoinedStr):
        return f"JoinedStr({','.join(_pieces(value))})"
    if not isinstance(value, ast.AST):
        return ascii(value)
    fields = {name: part for name, part in ast.iter_fields(value) if part is not None and part != []}
    if isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = value.body[0] if value.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            fields["body"] = value.body[1:]
    inside = ",".join(f"{name}={_canonical(part)}" for name, part in sorted(fields.items()))
    return f"{type(value).__name__}({inside})"


def _pieces(string: ast.JoinedStr) -> list[str]:
    """The parts of an f-string: neighbouring texts joined, empty ones left out."""
    found: list[str] = []
    text = ""
    for part in string.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        found += [ascii(text)] if text else []
        text = ""
        found.append(_canonical(part))
    return [*found, ascii(text)] if text else found


def _closure(modules: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _source(name)
        if path is None:
            raise ValueError(f"{name} is no module of this package")
        found[name], candidates = _parsed(path.read_text(encoding="utf-8"))
        waiting += [name for name in candidates if not _is_setting(name) and _source(name)]
    return found


@cache
def _parsed(source: str) -> tuple[str, list[str]]:
    """The canonical text of a module, and what may be modules of this package among what it imports. Stages share most
    of their modules; to parse them once for each took most of the time of reading the Snakefile."""
    tree = ast.parse(source)
    candidates: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "prerl":
            candidates += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            candidates += [alias.name for alias in node.names if alias.name.split(".")[0] == "prerl"]
    return _canonical(tree), candidates


def _is_setting(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in SETTINGS)


def _source(module: str) -> Path | None:
    """The file of a module of this package, or None."""
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
