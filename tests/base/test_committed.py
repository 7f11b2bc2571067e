"""Base models that are committed: what a study starts from, unless it is told to pretrain."""

import platform
import re
import shutil

import pytest

from prerl.base.committed import check_base, keep_base, pretraining, take_base
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json
from prerl.files.checksums import checksums, intact
from prerl.settings.scale import load_scale
from tests.helpers import ROOT, changed
from tests.pretrained import MODEL

MADE_BY = {"commit": "abc", "versions": {"python": "3"}, "hardware": {"cpus": 64}}
TINY = ROOT / "workflow/scales/tiny.yaml"


@pytest.fixture
def bases(scale, tmp_path):
    """A committed base of the tests' scale."""
    root = tmp_path / "bases/seed0"
    shutil.copytree(MODEL, root / "model")
    outputs = checksums([root / "model"], root)
    record = {"config": pretraining(scale), "parameters": 7, "outputs": outputs} | MADE_BY
    write_json(root / "run.json", record)
    return root.parent


def test_it_is_taken_as_if_it_had_been_pretrained(scale, bases, tmp_path):
    out = tmp_path / "base"
    take_base(scale, bases, out)
    record, original = (read_json(path / "run.json") for path in (out, bases / "seed0"))
    assert record["made_by"] == MADE_BY and record["versions"]["python"] == platform.python_version()
    for key in ("config", "outputs", "parameters"):
        assert record[key] == original[key]
    for name in read_json(out / "run.json")["outputs"]:
        assert intact(out / name, out / "run.json").read_bytes() == (bases / "seed0" / name).read_bytes()


def test_other_settings_are_refused(scale, bases, tmp_path):
    other = changed(scale, pretrain=changed(scale.pretrain, steps=700))
    with pytest.raises(
        UserError, match=r"seed0: pretrained by other settings \(pretrain\.steps: \d+ there, 700 here\)"
    ):
        take_base(other, bases, tmp_path / "base")
    assert not (tmp_path / "base").exists()
    check_base(changed(scale, rl=changed(scale.rl, steps=9)), bases)  # of which it does not depend


def test_damage_is_named(scale, bases, tmp_path):
    file = bases / "seed0/model/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=re.escape(str(file))):
        take_base(scale, bases, tmp_path / "base")
    assert not (tmp_path / "base").exists()
    file.with_name("model.safetensors.damaged").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: missing; `git checkout"):
        check_base(scale, bases)


def test_the_committed_one_is_that_of_the_scale_and_whole():
    bases = ROOT / "results/baselines/tiny/bases"
    check_base(load_scale(TINY), bases)
    record = read_json(bases / "seed0/run.json")
    assert checksums([bases / "seed0"], bases / "seed0").items() >= record["outputs"].items()


def test_a_base_that_was_taken_is_kept_with_the_record_of_its_pretraining(scale, bases, tmp_path):
    take_base(scale, bases, tmp_path / "taken")
    for base in (tmp_path / "taken", bases / "seed0"):
        keep_base(base, bases / "seed0", tmp_path / "kept" / base.name)
        assert checksums([tmp_path / "kept" / base.name], tmp_path / "kept" / base.name) == checksums(
            [bases / "seed0"], bases / "seed0"
        )
