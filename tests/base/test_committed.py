"""Base models that are committed: what a study starts from, unless it is told to pretrain."""

import platform
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from prerl.base.committed import check_base, committed_bases, keep_base, pretraining, take_base
from prerl.base.pretrain import save
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_json
from prerl.files.checksums import checksums, intact
from prerl.model.plain import load, load_pretrained
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
    record = {"config": pretraining(scale, 0), "parameters": 7, "outputs": outputs} | MADE_BY
    write_json(root / "run.json", record)
    return root.parent


def test_it_is_taken_as_if_it_had_been_pretrained(scale, bases, tmp_path):
    out = tmp_path / "base"
    take_base(scale, bases, 0, out)
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
        take_base(other, bases, 0, tmp_path / "base")
    assert not (tmp_path / "base").exists()
    check_base(changed(scale, rl=changed(scale.rl, steps=9)), bases, 0)  # of which it does not depend


def test_damage_is_named(scale, bases, tmp_path):
    file = bases / "seed0/model/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=re.escape(str(file))):
        take_base(scale, bases, 0, tmp_path / "base")
    assert not (tmp_path / "base").exists()
    file.with_name("model.safetensors.damaged").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: missing; `git checkout"):
        check_base(scale, bases, 0)


def test_the_committed_one_is_that_of_the_scale_and_whole():
    bases = ROOT / "results/baselines/tiny/bases"
    scale = load_scale(TINY)
    found = committed_bases(scale, bases)
    assert {scale.base_of(seed) for seed in (*scale.seeds, *scale.more_seeds)} <= set(found)
    for seed, files in found.items():
        outputs = read_json(bases / f"seed{seed}/run.json")["outputs"]
        assert files.items() >= {f"seed{seed}/{name}": checksum for name, checksum in outputs.items()}.items()


def test_a_base_that_was_taken_is_kept_with_the_record_of_its_pretraining(scale, bases, tmp_path):
    take_base(scale, bases, 0, tmp_path / "taken")
    for base in (tmp_path / "taken", bases / "seed0"):
        keep_base(base, bases / "seed0", tmp_path / "kept" / base.name)
        assert checksums([tmp_path / "kept" / base.name], tmp_path / "kept" / base.name) == checksums(
            [bases / "seed0"], bases / "seed0"
        )


def test_a_base_of_another_seed_is_another_one(scale, bases, tmp_path):
    shutil.copytree(bases / "seed0", bases / "seed3")
    with pytest.raises(UserError, match=r"seed3: pretrained by other settings \(seed: 0 there, 3 here\)"):
        committed_bases(scale, bases)


def test_weights_are_rounded_to_half_precision_before_anything_starts_from_them(model, tokenizer, tmp_path):
    save(model, tokenizer, tmp_path)
    files = load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in files.values()} == {torch.float16}
    for found in (load(tmp_path), load_pretrained(tmp_path)):
        for name, weight in found.state_dict().items():
            assert weight.dtype == torch.float32
            assert torch.equal(weight, model.state_dict()[name].half().float())
