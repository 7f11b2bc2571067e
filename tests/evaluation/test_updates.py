"""Whole updates on the same batch: what training hands to the optimiser, and what it is with other prompts."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from prerl.engines.update import Learner
from prerl.evaluation.comparison import Comparison
from prerl.evaluation.partial import Partial
from prerl.evaluation.updates import COLUMNS, OTHERS, Updates, behind, header_part
from prerl.losses import clipped_loss
from prerl.model.adamw import AdamW
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.problems.countdown import Problem
from prerl.settings.methods import UPDATE_METHODS
from tests.helpers import changed, random_batch

PROBLEMS = [Problem(numbers=(number, 1), target=2) for number in (3, 4)]


@pytest.fixture(scope="module")
def updates(scale, methods, trained):
    comparison = Comparison(scale, trained / "model", trained / "problems", 2, "test", 0)
    return Updates(comparison, {name: methods[name] for name in UPDATE_METHODS})


@pytest.fixture
def batch():
    """Two groups of two, one right response each; the first tokens restate the problem."""
    made, of = random_batch(torch.Generator().manual_seed(0)), [0, 0, 2, 2]
    prompts = {"prompt_ids": made.prompt_ids[of], "prompt_mask": made.prompt_mask[of]}
    return replace(made, **prompts, header=torch.tensor([2, 1, 3, 0]))


def trained_by(updates, method, batch):
    """The gradient that training hands to the optimiser, flat."""
    model, found = deepcopy(updates.of.model), []
    rl = changed(updates.rl, max_grad_norm=1e9)  # does not clip

    class Recording(AdamW):
        def step(self):
            found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))

    optimizer = Recording(model.parameters(), lr=rl.learning_rate, weight_decay=rl.weight_decay)
    Learner(model, optimizer, rl).learn(batch, updates.phases[method], updates.of.start)
    [gradient] = found
    return gradient


def test_an_update_is_what_training_hands_to_the_optimiser(updates, batch):
    rows = pd.DataFrame(updates.compare(batch, PROBLEMS)).set_index("method")
    assert list(rows.index) == [*UPDATE_METHODS, *(f"{name}, other prompts" for name in OTHERS)]
    reference = trained_by(updates, "grpo", batch)
    for name in UPDATE_METHODS:
        expected = trained_by(updates, name, batch)
        gradient, _ = updates.row(batch, name)
        torch.testing.assert_close(gradient, expected)
        assert rows.norm[name] == pytest.approx(float(expected.norm()), rel=1e-4)
        assert rows.cosine[name] == pytest.approx(float(torch.cosine_similarity(expected, reference, 0)), abs=1e-4)
    assert rows.cosine["grpo"] == pytest.approx(1, abs=1e-6) and rows.cosine.drop("grpo").max() < 0.9999
    assert rows.used.tolist() == [4, 2, 2, 4, 2, 2, 4, 2]


def test_the_null_is_an_update_with_the_responses_behind_each_others_prompts(updates, batch):
    swapped = behind(batch, [1, 0])
    assert torch.equal(swapped.prompt_ids[:2], batch.prompt_ids[2:]) and swapped.sampler_logp is None
    assert torch.equal(swapped.prompt_mask[2:], batch.prompt_mask[:2])
    assert torch.equal(swapped.response_ids, batch.response_ids) and torch.equal(swapped.group, batch.group)
    reference = trained_by(updates, "grpo", batch)
    for name, row in zip(OTHERS, updates.compare(batch, PROBLEMS)[-2:], strict=True):
        expected = torch.cosine_similarity(trained_by(updates, name, swapped), reference, 0)
        assert row["cosine"] == pytest.approx(float(expected), abs=1e-4)
    same = updates.compare(batch, [PROBLEMS[0]] * 2)
    assert [found["method"] for found in same] == list(UPDATE_METHODS)  # there is no other prompt


@pytest.mark.parametrize("method", ["grpo", "nsr-prerl"])
def test_the_header_has_its_share_of_the_gradient(updates, batch, method):
    """By hand: the loss of the tokens that restate the problem, and of the others, over the tokens of both."""
    learner, phase = updates.learners[method], updates.phases[method]
    learnt = learner.lesson(batch, phase, updates.of.start)
    logp = response_logp(LeanModel(updates.of.model), learnt.batch)
    loss = clipped_loss(logp, logp.detach(), learnt.advantages[:, None], 0.2, 0.2) * learnt.mask
    inside = torch.arange(logp.shape[1]) < batch.header[:, None]
    parts = []
    for chosen in (inside, ~inside):
        value = phase.loss_coefficient * (loss * chosen).sum() / learnt.mask.sum()
        grads = torch.autograd.grad(value, list(updates.of.model.parameters()), retain_graph=True)
        parts.append(torch.cat([grad.flatten() for grad in grads]))
    found, _ = updates.gradient(header_part(learnt), phase, learner)
    torch.testing.assert_close(found, parts[0], atol=1e-6, rtol=1e-3)
    gradient, row = updates.row(batch, method)
    torch.testing.assert_close(gradient - found, parts[1], atol=1e-6, rtol=1e-3)
    squares = [float(part.square().sum()) for part in parts]
    assert row["header_share"] == pytest.approx(squares[0] / sum(squares), rel=1e-3)
    assert 0 < row["header_share"] < 1


def test_a_batch_without_a_signal_has_no_updates(updates, batch):
    rows = pd.DataFrame(updates.compare(replace(batch, rewards=torch.zeros(4)), PROBLEMS))
    assert (rows.used == 0).all() and (rows.norm == 0).all()
    assert rows.cosine.isna().all() and rows.header_share.isna().all()


def test_where_responses_restate_nothing_no_share_is_theirs(updates, batch):
    rows = pd.DataFrame(updates.compare(replace(batch, header=None), PROBLEMS))
    assert rows.header_share.isna().all() and rows.cosine.notna().all()


def test_a_batch_is_sampled_as_in_training(updates):
    batch, problems = updates.batch(1)
    again, _ = updates.batch(1)
    other, _ = updates.batch(2)
    rl = updates.rl
    assert len(problems) == rl.prompts_per_step and batch.group.bincount().tolist() == [rl.group_size] * len(problems)
    assert torch.equal(batch.response_ids, again.response_ids) and not torch.equal(batch.prompt_ids, other.prompt_ids)
    prompts = updates.of.tokens.read([problem.prompt for problem in problems], updates.of.world.chat)
    for row, mask, group in zip(batch.prompt_ids, batch.prompt_mask, batch.group, strict=True):
        assert row[mask == 1].tolist() == prompts[group]
    assert set(batch.rewards.tolist()) <= {0.0, 1.0} and len(batch.header) == len(batch.rewards)


def test_a_killed_comparison_goes_on_after_the_last_batch(updates, batch, tmp_path, monkeypatch):
    def made(number):
        return replace(batch, rewards=torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]])[number]), PROBLEMS

    monkeypatch.setattr(updates, "batch", made)
    whole = pd.DataFrame(updates.run(Partial(tmp_path / "whole", {}), 3))
    assert list(whole.columns) == ["batch", *(name for name in whole.columns if name != "batch")]
    assert set(whole.columns) == set(COLUMNS) and whole.batch.tolist() == np.repeat(range(3), 8).tolist()

    def killed(number):
        if number == 2:
            raise KeyboardInterrupt
        return made(number)

    monkeypatch.setattr(updates, "batch", killed)
    with pytest.raises(KeyboardInterrupt):
        updates.run(Partial(tmp_path / "killed", {}), 3)
    asked = []
    monkeypatch.setattr(updates, "batch", lambda number: asked.append(number) or made(number))
    pd.testing.assert_frame_equal(pd.DataFrame(updates.run(Partial(tmp_path / "killed", {}), 3)), whole)
    assert asked == [2]


def test_without_grpo_there_is_nothing_to_compare_with(updates, methods, tmp_path):
    assert Updates(updates.of, {"nsr-rl": methods["nsr-rl"]}).run(Partial(tmp_path / "partial", {}), 2) == []
