"""Configurations that are wrong in every way that hypothesis finds: one line that names the file, never a traceback."""

import copy
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prerl import cli
from prerl.analysis.behaviour import load_lexicon
from prerl.errors import UserError
from prerl.problems.public import load_catalog
from prerl.settings.methods import load_methods
from prerl.settings.scale import load_scale
from tests.helpers import ROOT

LOADERS = {
    "workflow/scales/tiny.yaml": load_scale,
    "workflow/scales/smollm.yaml": load_scale,
    "workflow/scales/smollm-arithmetic.yaml": load_scale,
    "workflow/scales/qwen3-4b.yaml": load_scale,
    "workflow/methods.yaml": load_methods,
    "tests/examples/warm_up_slowly.yaml": load_methods,
    "workflow/lexicons/countdown.yaml": load_lexicon,
    "workflow/problems.yaml": load_catalog,
}
VALUES = ["text", "", -1, 0, 1, 10**30, 1.5, float("nan"), float("inf"), None, True, [], [1], {}, {"a": 1}, [{"a": []}]]


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


@pytest.mark.slow
def test_a_wrong_configuration_is_refused_in_one_line_that_names_the_file(tmp_path):
    refused: dict[str, set[str]] = {name: set() for name in LOADERS}

    @settings(max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(wrong())
    def load(case):
        name, text = case
        path = tmp_path / name.rsplit("/", 1)[1]
        path.write_text(text, encoding="utf-8")
        try:
            LOADERS[name](path)  # some changes do no harm: a letter of a description, another count
        except UserError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and len(str(error)) < 600
            refused[name].add(str(error).removeprefix(str(path)))

    load()
    assert all(refused.values()) and sum(map(len, refused.values())) >= 100


def numbers(data, path=()):
    """The places of all numbers in nested data."""
    return [where for where in places(data, path) if type(at(data, where)) in (int, float)]


def at(data, where):
    for key in where:
        data = data[key]
    return data


def changed_at(data, where, value):
    data = copy.deepcopy(data)
    at(data, where[:-1])[where[-1]] = value
    return data


@pytest.mark.parametrize("name", ["tiny", "smollm", "qwen3-4b"])
@pytest.mark.parametrize("value", ["text", "", -1, 10**30, float("nan"), float("inf"), True, [], {}, [1]], ids=repr)
def test_what_is_no_number_of_its_kind_is_refused_at_every_number_of_a_scale(tmp_path, name, value):
    """Rates have no upper bound: training says when a loss is no number."""
    data = yaml.safe_load((ROOT / f"workflow/scales/{name}.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "wrong.yaml"
    for where in numbers(data):
        rate = type(at(data, where)) is float or where[0] == "plan"
        if (where == ("pretrain", "seed") and value in (-1, 10**30)) or (rate and value == 10**30):
            continue
        path.write_text(yaml.safe_dump(changed_at(data, where, value)), encoding="utf-8")
        with pytest.raises(UserError) as error:
            load_scale(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_an_unknown_key_is_refused_in_every_section(tmp_path, name):
    """Sections whose keys are names take new ones, if their values are right."""
    data = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    path = tmp_path / name.rsplit("/", 1)[1]
    sections = [(), *(where for where in places(data) if isinstance(at(data, where), dict))]
    assert sections
    for where in sections:
        path.write_text(yaml.safe_dump(changed_at(data, (*where, "zzz"), None)), encoding="utf-8")
        if where[-1:] == ("benchmarks",) and where[0] == "problems" and data["problems"]["world"] == "public":
            continue  # all problems of a set `zzz`, which the catalogue does not have
        with pytest.raises(UserError) as error:
            LOADERS[name](path)
        assert str(error.value).startswith(f"{path}: ") and "zzz" in str(error.value)


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
