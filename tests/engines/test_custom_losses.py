"""A method author's own losses, and what their functions may ask for."""

import pytest
import torch

from prerl.engines.custom import custom_advantages, custom_loss
from prerl.errors import UserError
from prerl.settings.functions import load_function
from prerl.settings.methods import SETTINGS
from tests.helpers import ROOT, changed, learn
from tests.runs import rollouts

CLIP = """
    ratio = (logp - old_logp).exp()
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip_low, 1 + clip_high))
"""


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)
    load_function.cache_clear()


@pytest.fixture
def write(tmp_path):
    def write(body, parameters="logp, old_logp, advantages, mask", name="mine"):
        (tmp_path / f"{name}.py").write_text(f"import torch\n\ndef f({parameters}):\n    {body.strip()}\n")
        return f"{tmp_path}/{name}.py:f"

    return write


def given():
    logp = -torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    return {"logp": logp.requires_grad_(), "old_logp": logp.detach(), "advantages": torch.ones(2, 1), "mask": mask}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return (logp * mask).sum()", "the loss: shape (), expected (2, 3)"),
        ("return logp[:, 0]", "the loss: shape (2,), expected (2, 3)"),
        ("return logp / 0", "the loss: 4 of 6 values are NaN or infinite"),
        ("return logp.double()", "the loss: dtype float64, expected float32"),
        (
            "return -advantages * logp.detach()",
            "the loss: has no gradient: it must be made of logp, not of logp.detach()",
        ),
        ("return None", "the loss: returned NoneType, expected a tensor"),
        ("return logp[9]", "raised IndexError: index 9 is out of bounds for dimension 0 with size 2 (line 4)"),
    ],
)
def test_what_is_wrong_with_a_loss_is_one_line(write, body, message):
    place = write(body)
    with pytest.raises(UserError) as error:
        custom_loss(place, given())
    assert str(error.value) == f"{place}: {message}"


def test_what_a_loss_makes_of_padding_does_not_matter(write):
    found = custom_loss(write("return (logp + old_logp) / mask"), given())
    assert bool(found.isfinite().all())


def test_a_loss_of_ones_own_is_that_loss(scale, trained, methods, write):
    """PPO's, without dual clip, over several updates."""
    place = write(CLIP, "logp, old_logp, advantages, clip_low, clip_high")
    rl, results = changed(scale.rl, learning_rate=0.02), []
    for loss in ("clip", place):
        chosen = changed(methods["grpo"].phases[0], loss=loss, mini_batches=2, passes=2, dual_clip=1e6)
        model, batch = rollouts(scale, trained)
        row = learn(model, torch.optim.SGD(model.parameters()), batch, chosen, rl)
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*results, atol=1e-6, rtol=1e-4)
    assert row["used_samples"] == 16  # whether one without advantage has a gradient is the author's to say


def test_functions_ask_by_name(write, methods):
    values = {name: getattr(methods["grpo"].phases[0], name) for name in SETTINGS}
    place = write("return 0 * rewards + step / steps + clip_low", "rewards, step, steps, clip_low")
    rewards, group = torch.zeros(4), torch.zeros(4).long()
    found = custom_advantages(place, rewards, group, step=3, steps=6, **values)
    assert found.tolist() == pytest.approx([0.7] * 4)
    place = write("return 0 * everything['rewards'] + everything['step']", "**everything", "all")
    assert custom_advantages(place, rewards, group, step=3).tolist() == [3.0] * 4
    place = write("return rewards", "rewards, colour", "odd")
    with pytest.raises(UserError) as error:
        custom_advantages(place, rewards, group, step=3)
    assert str(error.value) == f"{place}: asks for 'colour'; there are rewards, group, step"


def test_step_and_steps_are_those_of_the_run(scale, trained, methods, write):
    place = write("raise ValueError(f'{step} of {steps}')", "rewards, step, steps")
    model, batch = rollouts(scale, trained)
    chosen = changed(methods["grpo"].phases[0], advantage=place)
    with pytest.raises(UserError, match=f"raised ValueError: 4 of {scale.rl.steps} "):
        learn(model, torch.optim.SGD(model.parameters()), batch, chosen, scale.rl, step=4)
