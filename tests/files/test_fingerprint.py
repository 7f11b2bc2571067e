"""One fingerprint on every Python: else committed baselines are refused, and checkpoints thrown away, on another."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prerl.compare.baselines import Baselines
from prerl.files.fingerprint import fingerprint
from prerl.settings.scale import load_scale
from tests.helpers import ROOT

# What Pythons parse differently, or show differently: empty type parameters, f-strings and what stands around them,
# characters that only newer versions know as printable, numbers, indented docstrings.
SAMPLE = '''
"""A module."""

import math as m


class Thing(dict, metaclass=type):
    """Indented
        docstring."""

    size: int = 10**30

    @property
    async def f(self, a, /, b: "str" = None, *args, c=1.5e-7, **options):
        """Another."""
        text = f"{a!r:>{b}} and" f" {c:.3f}{''}" "\\U0001fae9 \\u2028" rf"\\d{{}}{a = }" f""
        return {**options, None: ..., "b": b"\\xff"}, text, a[1:, ::2], lambda: (yield)


match m.pi:
    case {"x": [1, *rest], **other} if (n := len(rest)) > 1:
        pass
    case Thing(size=-1j) | None:
        raise ValueError from None
    case _:
        try:
            assert not True, "no"
        except* OSError as error:
            del error
'''
SAMPLE_HASH = "237306dd00382b25"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module, whose fingerprints are asked for."""
    (tmp_path / "prerl").mkdir()
    monkeypatch.setattr("prerl.files.fingerprint.PACKAGE", tmp_path / "prerl")

    def of(text):
        (tmp_path / "prerl/sample.py").write_text(text, encoding="utf-8")
        return fingerprint("prerl.sample")

    return of


def test_a_fingerprint_is_the_recorded_one(package):
    assert package(SAMPLE) == SAMPLE_HASH


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.5e-7", "1.5e-6"),
        ("!r", "!s"),
        (".3f", ".4f"),
        ('f" {c', 'f"{c'),
        ("2028", "2029"),
        ("::2", ":2"),
        ("None: ...", "**None"),
        ("-1j", "-1"),
        ('b"\\xff"', '"\\xff"'),
        ("async def", "def"),
        ("except*", "except"),
        ("a, /, b", "a, b"),
        ("raise ValueError from None", "raise ValueError"),
        ("10**30", "(10, 30)"),
    ],
)
def test_a_change_of_meaning_is_another_fingerprint(package, old, new):
    assert SAMPLE.count(old) == 1 and package(SAMPLE.replace(old, new)) != SAMPLE_HASH


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', ""),
        ("Indented\n        docstring.", "Other words."),
        ('{b}} and" f" {c', "{b}} and {c"),
        ("import math as m\n", "import math as m  # why\n\n\n"),
    ],
)
def test_layout_and_docstrings_do_not_count(package, old, new):
    assert SAMPLE.count(old) == 1 and package(SAMPLE.replace(old, new)) == SAMPLE_HASH


def others():
    """Pythons from 3.11 on beside this one: on the path, or where pyenv and uv keep them."""
    named = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    kept = [
        *Path.home().glob(".pyenv/versions/3.*/bin/python3"),
        *Path.home().glob(".local/share/uv/python/*/bin/python3"),
    ]
    show = "import sys; print(sys.version_info[:2] >= (3, 11), *sys.version_info[:2], sep='.')"
    found = {}
    for python in filter(None, [*named, *map(str, kept)]):
        said = subprocess.run([python, "-c", show], capture_output=True, text=True).stdout.strip()
        if said.startswith("True."):
            found[said.removeprefix("True.")] = python
    return found


@pytest.mark.slow
def test_every_installed_python_gives_the_same_fingerprint_of_every_module():
    """The package needs nothing installed for that: the Snakefile asks before anything is."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "prerl").rglob("*.py"))
        if path.name != "__init__.py"
    ]
    command = "import sys; from prerl.files.fingerprint import fingerprint; print(*map(fingerprint, sys.argv[1:]))"
    here = " ".join(map(fingerprint, modules))
    found = others()
    if not set(found) - {f"{sys.version_info[0]}.{sys.version_info[1]}"}:
        pytest.skip("no other Python from 3.11 on is installed (uv or pyenv bring them)")
    for version, python in found.items():
        said = subprocess.run([python, "-B", "-c", command, *modules], cwd=ROOT, capture_output=True, text=True)
        assert said.stdout.strip() == here, f"Python {version}: {said.stderr}"


def test_the_committed_baselines_fit_this_code_on_every_python():
    baselines = Baselines(ROOT / "results/baselines/tiny")
    baselines.check_fit(load_scale(ROOT / "workflow/scales/tiny.yaml"))
