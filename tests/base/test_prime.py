"""Priming: what is learnt, from which tokens, and that a killed run goes on to the same bytes."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from prerl.base import prime as stage
from prerl.base.prime import batches, prime
from prerl.cli import app
from prerl.errors import UserError
from prerl.files.checksums import sha256
from prerl.model.checkpoint import Checkpoints
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.model.plain import load
from prerl.model.tokens import Tokens
from prerl.problems.splits import split_of
from prerl.settings.engine import LocalEngine
from prerl.settings.model import Prime
from prerl.settings.scale import Scale, load_scale
from prerl.verify import is_correct
from tests.helpers import ROOT, changed
from tests.runs import Killed
from tests.speakers import write_speaker

STEPS = {"steps": 6, "documents_per_step": 4, "learning_rate": 1e-2, "warmup_steps": 1, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def primed():
    """The scale of the arithmetic world, for a speaker, with a few steps of priming."""
    scale = load_scale(ROOT / "workflow/scales/smollm-arithmetic.yaml")
    few = Prime(**STEPS, checkpoint_every=3, threads=1, reflects=0.5)
    return changed(scale, prime=few, threads=1, problems=changed(scale.problems, examples=[], system="Box it."))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_speaker("qwen", tmp_path_factory.mktemp("speaker") / "model")


def test_solutions_of_training_problems_are_learnt_behind_their_questions(primed, model, tmp_path):
    tokens = Tokens(model)
    texts = []
    for batch in batches(primed, 0, tokens, 0):
        for row in range(len(batch.rewards)):
            prompt = tokens.tokenizer.decode(batch.prompt_ids[row][batch.prompt_mask[row] == 1])
            ids = batch.response_ids[row][batch.response_mask[row] == 1]
            assert prompt.startswith("<|im_start|>system\nBox it.<|im_end|>") and prompt.endswith("assistant\n")
            assert int(ids[-1]) == tokens.tokenizer.eos_token_id
            texts.append((prompt, tokens.tokenizer.decode(ids[:-1])))
    assert len(texts) == 24
    for prompt, text in texts:
        first, sign, second = text.split(" = ")[0].split(" ")
        assert split_of(f"{first}{sign}{second}") == "train" and first in prompt and second in prompt
        assert is_correct(text, str(int(first) + int(second) * (1 if sign == "+" else -1)))
    assert 0 < sum("\n\n" in text.partition("\n\nThe answer")[0] for _, text in texts) < 24


def test_a_step_goes_down_the_mean_log_likelihood_of_the_solutions(primed, model, tmp_path):
    """Before and after one step, by the model's own log-probabilities, and the loss that is logged."""
    one = changed(primed, prime=changed(primed.prime, steps=1, checkpoint_every=1))
    prime(one, 0, model, tmp_path)
    batch = next(batches(one, 0, Tokens(model), 0))

    def loss(path):
        with torch.inference_mode():
            logp = response_logp(LeanModel(load(path)), batch)
        return -float((logp * batch.response_mask).sum() / batch.response_mask.sum())

    log = pd.read_parquet(tmp_path / "log.parquet")
    assert log.loss.tolist() == pytest.approx([loss(model)], rel=1e-5)
    assert log.tokens.tolist() == [int(batch.response_mask.sum())]
    assert loss(tmp_path / "model") < loss(model)


def test_a_killed_run_goes_on_to_the_same_bytes(primed, model, tmp_path, monkeypatch):
    prime(primed, 1, model, tmp_path / "whole")
    save = Checkpoints.save

    def killed(self, step, *arguments, **options):
        save(self, step, *arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(Killed):
            prime(primed, 1, model, tmp_path / "killed")
    began = []
    monkeypatch.setattr(stage, "batches", lambda *given: began.append(given[-1]) or batches(*given))
    prime(primed, 1, model, tmp_path / "killed")
    assert began == [3]
    weights = "model/model.safetensors"
    assert (tmp_path / "killed" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    record = json.loads((tmp_path / "killed/run.json").read_text())
    assert record["inputs"] == {"model": sha256(model / "model.safetensors")}
    assert record["outputs"][weights] == sha256(tmp_path / "killed" / weights)
    assert not (tmp_path / "killed/checkpoints").exists()
    prime(primed, 2, model, tmp_path / "another")
    assert not torch.equal(*(next(iter(load_file(tmp_path / run / weights).values())) for run in ("whole", "another")))


def test_what_cannot_be_primed_is_one_line(primed, tmp_path):
    path = ROOT / "workflow/scales/smollm-arithmetic.yaml"
    result = CliRunner().invoke(
        app, ["prime", "--scale", str(path), "--seed", "0", "--model", str(tmp_path), "--out", str(tmp_path / "x")]
    )
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{path}: prime: this scale primes no model"
    smoke = load_scale(ROOT / "workflow/scales/smoke.yaml")
    with pytest.raises(ValueError, match="prime: a published model can be primed, with problems of the arithmetic"):
        Scale.model_validate(smoke.model_dump() | {"prime": primed.prime.model_dump()})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_computes_on_the_engines_device(primed, model, tmp_path):
    elsewhere = changed(primed, engine=LocalEngine(device="cuda"))
    with pytest.raises(UserError, match=r"engine\.device: cuda, but torch finds no GPU"):
        prime(elsewhere, 0, model, tmp_path / "primed")
