"""What is written about the package: its docstrings, and prerl/README.md."""

import ast
import re
import tomllib

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "prerl"
# A first word whose subject stands somewhere else: in another function, or nowhere.
ELSEWHERE = re.compile(r"(The same\b|As (the|a|an)\b|As `|Also\b|Likewise\b|Of\b|Those\b|Its\b|Their\b|Same\b)")
OTHERS = re.compile(r"\b(?:Raises \w+ as|as `[\w.]+` does)\b")


def public(tree, prefix=""):
    """(name, docstring) of what a module defines and others may call."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or re.match("_[^_]", node.name):
            continue
        yield prefix + node.name, ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            yield from public(node, f"{prefix}{node.name}.")


def test_public_docstrings_say_what_they_are_about():
    unclear = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, text in [("", ast.get_docstring(tree) or ""), *public(tree)]:
            if ELSEWHERE.match(text) or OTHERS.search(text):
                unclear.append(f"{path.relative_to(ROOT)}: {name}: {text.splitlines()[0]}")
    assert not unclear, "\n".join(unclear)


def readme():
    return (PACKAGE / "README.md").read_text(encoding="utf-8")


def defined(path, names):
    """Whether a file of the package defines a name, or a member of a class."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for name in names.split("."):
        found = [node for node in body if name in names_of(node)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def names_of(node):
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return {getattr(node, "name", None), *(target.id for target in targets if isinstance(target, ast.Name))}


def test_the_drawing_of_the_layers_is_the_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"prerl\.(\w+)", layer) for layer in contract["layers"]]
    rows = re.findall("^│(.+)│$", readme(), re.MULTILINE)
    assert [[name.strip() for name in row.split("│")] for row in rows] == layers
    named = re.findall(r"^\| `(\w+)` \|", readme(), re.MULTILINE)
    assert sorted(named) == sorted(name for layer in layers for name in layer)
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert set(named) == there - {"__init__"}


def test_the_readme_names_what_is_there():
    text = re.sub(r"```.*?```", "", readme(), flags=re.DOTALL)
    places = set(re.findall(r"`([\w/.-]+\.py):([\w.]+)`", text)) - {("path.py", "function")}
    assert len(places) > 40
    gone = [f"{file}:{name}" for file, name in places if not defined(PACKAGE / file, name)]
    files = set(re.findall(r"`([\w-]+/[\w/.-]+\.(?:py|yaml|smk|rst|typ))`", text)) | {"pyproject.toml"}
    for file in files:
        place = file if "NAME" not in file else file.rpartition("/")[0]
        gone += [file] if not (ROOT / place).exists() and not (PACKAGE / place).exists() else []
    assert not gone


@pytest.mark.parametrize("names", ["objective.py:lessons", "engines/session.py:Session.end", "engines/gone.py:x"])
def test_a_name_that_is_gone_is_found(names, monkeypatch):
    text = readme() + f"`{names}`"
    monkeypatch.setattr("tests.whole.test_documents.readme", lambda: text)
    with pytest.raises((AssertionError, FileNotFoundError)):
        test_the_readme_names_what_is_there()
