"""The local engine on a GPU against itself on the CPU, on the same responses. Where there is no GPU, only that a scale
which asks for one is refused."""

from functools import partial

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prerl.engines.local import Run
from prerl.engines.update import make_batch
from prerl.errors import UserError
from prerl.evaluation.comparison import Comparison
from prerl.evaluation.partial import Partial
from prerl.settings.engine import LocalEngine
from tests.helpers import changed
from tests.runs import run

WITH_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch finds none here")
CLOSE = 1e-4  # of the greatest value


@pytest.fixture
def on():
    """Makes new tensors on a device, the CPU afterwards."""
    yield torch.set_default_device
    torch.set_default_device("cpu")


def apart(a, b):
    """The greatest difference of two tensors, as a share of the greatest value."""
    return float((a.cpu() - b.cpu()).abs().max() / a.abs().max().cpu())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(scale, methods, trained, tmp_path):
    elsewhere = changed(scale, engine=LocalEngine(device="cuda"))
    with pytest.raises(UserError, match=r"engine\.device: cuda, but torch finds no GPU"):
        run(elsewhere, methods, trained, tmp_path, "grpo")


@WITH_GPU
@pytest.mark.parametrize("name", ["grpo", "nsr-prerl", "ppo", "grpo-kl"])
def test_an_update_is_that_of_the_cpu(scale, methods, trained, on, name):
    """Log-probabilities, gradients and weights after one step, of the responses that the CPU has sampled."""
    phase, found, sampled = methods[name].phases[0], {}, None
    for device in ("cpu", "cuda"):
        on(device)
        here = Run(scale, methods[name], 0, trained / "model", trained / "problems")
        sampled = sampled or here.sample(1, phase)[0]
        rewards = [float(index % 2) for index in range(len(sampled.responses))]
        batch = make_batch(sampled.prompts, sampled.responses, rewards, scale.rl.group_size, here.tokens.pad)
        row = here.learner.learn(batch, phase, here.start_token_id(phase))
        flat = torch.cat([parameter.grad.flatten() for parameter in here.model.parameters()])
        moved = torch.cat([parameter.detach().flatten() for parameter in here.model.parameters()])
        assert flat.device.type == device
        found[device] = flat, moved, row
    cpu, cuda = found["cpu"], found["cuda"]
    assert apart(cpu[0], cuda[0]) < CLOSE
    assert apart(cpu[1], cuda[1]) < CLOSE
    assert cuda[2]["grad_norm"] == pytest.approx(cpu[2]["grad_norm"], rel=CLOSE)
    assert cuda[2]["used_samples"] == cpu[2]["used_samples"]


@WITH_GPU
def test_the_sampler_draws_what_it_says(scale, methods, trained, on):
    """The log-probabilities that the GPU's sampler tells are those of its update; short and long prompts."""
    on("cuda")
    phase = methods["grpo"].phases[0]
    for limit in (48, 4):  # one below the length of the prompts
        short = changed(scale, rl=changed(scale.rl, max_new_tokens=limit))
        here = Run(short, methods["grpo"], 0, trained / "model", trained / "problems")
        sampled = here.sample(1, phase)[0]
        rewards = [float(index % 2) for index in range(len(sampled.responses))]
        batch = make_batch(sampled.prompts, sampled.responses, rewards, scale.rl.group_size, here.tokens.pad)
        assert here.learner.learn(batch, phase, 1)["sampler_gap"] < CLOSE


@WITH_GPU
def test_gradients_are_compared_as_on_the_cpu(scale, trained, on, tmp_path):
    tables, responses = {}, None
    for device in ("cpu", "cuda"):
        on(device)
        compared = Comparison(scale, trained / "model", trained / "problems", 2, "test")
        responses = responses or compared.sample()
        compared.sample = partial(list, responses)
        tables[device] = pd.DataFrame(compared.run(Partial(tmp_path / device, {}), noise=True)["alignment"])
    numbers = ["inner_product", "cosine", "other_prompt", "norm_post_train", "norm_pre_train"]
    pd.testing.assert_frame_equal(tables["cpu"][numbers], tables["cuda"][numbers], rtol=1e-3, atol=CLOSE)


@WITH_GPU
def test_a_whole_run(scale, methods, trained, on, tmp_path):
    """Trained, killed and gone on with by the same command, on the GPU; its weights are on the CPU's side readable."""
    there = changed(scale, engine=LocalEngine(device="cuda"))
    log = run(there, methods, trained, tmp_path / "run", "ppo")[0]
    assert len(log) == scale.rl.steps and log.grad_norm.gt(0).any()
    assert all(weight.device.type == "cpu" for weight in load_file(tmp_path / "run/model/model.safetensors").values())
