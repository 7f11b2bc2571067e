"""Fingerprints of code: what a stage's result depends on besides its inputs and its configuration."""

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
# What these modules read enters a job as checked values, its parameters; so a new key elsewhere reruns nothing.
CONFIGURATION = {f"prerl.config{part}" for part in ("", "_engine", "_model", "_options", "_values")}
SETTINGS = CONFIGURATION | {"prerl.methods", "prerl.reading", "prerl.errors"}


def fingerprint(*modules: str) -> str:
    """A hash of the sources of the given modules and of every module of this package that they import, however deep,
    except those that check the configuration.

    Comments and layout do not count: a stage is rerun when the meaning of its code changes. Reads files only, so it
    is cheap enough for a Snakefile. Raises ValueError if a module is not in the package.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(_closure(modules).items()):
        digest.update(f"{name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _source(name)
        if path is None:
            raise ValueError(f"{name} is no module of this package")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(found[name]):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "prerl":
                candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                candidates = [alias.name for alias in node.names if alias.name.split(".")[0] == "prerl"]
            else:
                continue
            waiting += [candidate for candidate in candidates if candidate not in SETTINGS and _source(candidate)]
    return found


def _source(module: str) -> Path | None:
    """The file of a module of this package, or None."""
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
