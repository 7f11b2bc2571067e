"""Configurations that are wrong in every way that hypothesis finds: one line that names the file, never a traceback."""

import copy
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prerl import cli
from prerl.behaviour import load_lexicon
from prerl.config import load_scale
from prerl.errors import UserError
from prerl.methods import load_methods
from prerl.problems.public import load_catalog
from tests.helpers import ROOT

LOADERS = {
    "workflow/scales/tiny.yaml": load_scale,
    "workflow/scales/smollm.yaml": load_scale,
    "workflow/scales/qwen3-4b.yaml": load_scale,
    "workflow/methods.yaml": load_methods,
    "tests/examples/warm_up_slowly.yaml": load_methods,
    "workflow/lexicons/countdown.yaml": load_lexicon,
    "workflow/problems.yaml": load_catalog,
}
VALUES = ["text", "", -1, 0, 1, 10**30, 1.5, float("nan"), float("inf"), None, True, [], [1], {}, {"a": 1}, [{"a": []}]]
REFUSED: dict[str, set[str]] = {}


def places(data, path=()):
    """Every key and index of nested data, as paths."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def wrong(draw):
    """(file, text): a valid file with one thing changed."""
    name = draw(st.sampled_from(sorted(LOADERS)))
    text = (ROOT / name).read_text(encoding="utf-8")
    how = draw(st.sampled_from(["value", "key", "missing", "twice", "cut", "character"]))
    if how in ("cut", "character"):
        at = draw(st.integers(0, len(text) - 1))
        return name, text[:at] + ("" if how == "cut" else draw(st.characters(codec="utf-8")) + text[at + 1 :])
    data = yaml.safe_load(text)
    *parents, last = draw(st.sampled_from(list(places(data))))
    place = copy.deepcopy(data)
    inside = place
    for key in parents:
        inside = inside[key]
    if how == "value":
        inside[last] = draw(st.sampled_from(VALUES))
    elif how == "missing":
        del inside[last]
    elif how == "key" and isinstance(inside, dict):
        inside[draw(st.sampled_from(["zzz", "", 3, None, "stepz"]))] = draw(st.sampled_from(VALUES))
    else:
        return name, text + "\n" + text
    return name, yaml.safe_dump(place, allow_unicode=True)


@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(wrong())
def test_a_wrong_configuration_is_refused_in_one_line_that_names_the_file(tmp_path_factory, case):
    name, text = case
    folder = tmp_path_factory.mktemp("wrong", numbered=True)
    path = folder / name.rsplit("/", 1)[1]
    path.write_text(text, encoding="utf-8")
    try:
        LOADERS[name](path)
    except UserError as error:
        assert str(error).startswith(str(folder)) and "\n" not in str(error) and len(str(error)) < 600
        REFUSED.setdefault(name, set()).add(str(error).removeprefix(str(path)))


def test_that_many_were_refused_and_of_every_file():
    assert set(REFUSED) == set(LOADERS) and sum(map(len, REFUSED.values())) >= 60


@pytest.mark.parametrize("key", ["rl.zzz", "evaluation.zzz", "analysis.claims_on.zzz", "zzz"])
def test_the_command_ends_with_2_and_one_line(tmp_path, monkeypatch, capsys, key):
    data = yaml.safe_load((ROOT / "workflow/scales/smoke.yaml").read_text())
    *parents, last = key.split(".")
    inside = data
    for parent in parents:
        inside = inside[parent]
    inside[last] = 1
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(data))
    monkeypatch.setattr(sys, "argv", ["prerl", "problems", "--scale", str(path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2 and capsys.readouterr().err == f"prerl: {path}: {key}: unknown key\n"
    assert not (tmp_path / "out").exists()
