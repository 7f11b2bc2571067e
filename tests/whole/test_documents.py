"""What is written about the package: docstrings."""

import ast
import re

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
