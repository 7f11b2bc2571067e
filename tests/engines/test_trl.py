"""The TRL engine against the local one: same responses, same gradients, same weights, same files."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from prerl.engines import local
from prerl.engines.session import Session
from prerl.errors import UserError
from prerl.model.adamw import AdamW
from prerl.settings.engine import TrlEngine, Vllm
from tests.double import EPS, GRADIENT_ROUNDING
from tests.helpers import ROOT, changed

pytest.importorskip("trl", reason="the TRL engine needs the extra `test` or `cluster`")
from accelerate import Accelerator

from prerl.engines import trl

ENGINE = TrlEngine(
    name="trl", device="cpu", processes=1, launch=None, precision="float32", gradient_checkpointing=False, vllm=None
)
PACE = ["generate_seconds", "update_seconds", "tokens_per_second", "seconds_left"]
# Every kind of phase that the engine has: both spaces, all signs, all advantages, a budget, another start token, body,
# its author's own functions.
KINDS = [
    "grpo",
    "nsr-rl",
    "psr-prerl",
    "nsr-prerl",
    "dr-grpo",
    "reinforce-pp",
    "w-reinforce",
    "rloo",
    "dsrl-start",
    "dsrl-body",
    "grpo-length",
    "grpo-kl",
    "lite-ppo",
    "gspo",
    "sapo",
    "many",
    "own",
]


@pytest.fixture(scope="module")
def short(scale):
    """Three updates, so few that rounding has no time to grow into other responses."""
    return changed(
        scale,
        rl=changed(scale.rl, steps=3, checkpoint_every=3),
        analysis=changed(scale.analysis, alignment_steps=[3]),
    )


@pytest.fixture(scope="module")
def methods(methods):
    own = {"advantage": "tests.own:advantage", "transform": "tests.own:transform", "loss": "tests.own:loss"}
    many = {"space": "pre-train", "mini_batches": 2, "passes": 2, "kl_coefficient": 0.1, "overlong_buffer": 0.5}
    many |= {"entropy_coefficient": 0.01, "clip_high": 0.05, "denominator": "length"}
    made = {
        "own": own,
        "many": many,
        "gspo": {"loss": "gspo", "mini_batches": 2, "clip_low": 0.01, "clip_high": 0.01, "denominator": "length"},
        "sapo": {"loss": "sapo", "passes": 2},
    }
    plain = methods["grpo"]
    return methods | {
        name: changed(plain, phases=[changed(plain.phases[0], **values)]) for name, values in made.items()
    }


def run(engine, scale, methods, trained, out, name):
    """The log without what the clock says, the last weights, and the record."""
    engine.train(scale, name, methods[name], 0, trained / "model", trained / "problems", out)
    log = pd.read_parquet(out / "log.parquet").drop(columns=PACE)
    last = max((out / "checkpoints").glob("step-*"))
    return log, load_file(last / "model.safetensors"), json.loads((out / "run.json").read_text())


def assert_same(first, second, scale):
    """Weights differ by no more than what Adam makes of rounding in double precision, in the scale's few updates."""
    tolerance = scale.rl.steps * scale.rl.learning_rate / EPS * GRADIENT_ROUNDING
    exact = ["step", "phase", "used_samples", "skipped", "updates", "redrawn", "tokens"]
    assert set(first[0]) == set(second[0])
    pd.testing.assert_frame_equal(first[0][exact], second[0][exact], check_dtype=False)
    rest = first[0].columns.difference([*exact, "sampler_gap"])
    pd.testing.assert_frame_equal(first[0][rest], second[0][rest], rtol=1e-4, atol=1e-5, check_dtype=False)
    assert first[1].keys() == second[1].keys()
    for name, value in first[1].items():
        torch.testing.assert_close(
            value, second[1][name], atol=tolerance, rtol=0, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.fixture
def gradients(monkeypatch):
    """Those of every update since the last look, as either engine's optimiser meets them: clipped."""
    found = []

    def watched(step):
        def noting(self, *closure):
            found.append([parameter.grad.clone() for group in self.param_groups for parameter in group["params"]])
            return step(self, *closure)

        return noting

    for optimizer in (torch.optim.AdamW, AdamW):
        monkeypatch.setattr(optimizer, "step", watched(optimizer.step))
    return lambda: [found.pop(0) for _ in range(len(found))]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_three_updates_give_the_local_engines_gradients_and_weights(
    short, methods, trained, tmp_path, gradients, double, mixed_rewards, name
):
    expected, expected_gradients = run(local, short, methods, trained, tmp_path / "local", name), gradients()
    found = run(trl, changed(short, engine=ENGINE), methods, trained, tmp_path / "trl", name)
    assert_same(expected, found, short)
    assert len(expected_gradients) == short.rl.steps * methods[name].phases[0].updates
    for first, second in zip(expected_gradients, gradients(), strict=True):
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-8)
    dev = [pd.read_parquet(tmp_path / engine / "dev.parquet") for engine in ("local", "trl")]
    assert dev[0].columns.equals(dev[1].columns) and len(dev[0]) == len(dev[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "nsr-prerl", "dsrl-body"])
def test_in_single_precision_the_first_gradients_differ_by_rounding(
    short, methods, trained, tmp_path, gradients, mixed_rewards, name
):
    """By TRL's own log-probabilities, which in double precision are replaced."""
    once = changed(
        short, rl=changed(short.rl, steps=1, checkpoint_every=1), analysis=changed(short.analysis, alignment_steps=[1])
    )
    run(local, once, methods, trained, tmp_path / "local", name)
    run(trl, changed(once, engine=ENGINE), methods, trained, tmp_path / "trl", name)
    first, second = (torch.cat([part.flatten() for part in found]) for found in gradients())
    assert float((first - second).norm()) < 1e-4 * float(first.norm())  # a thousand roundings of 6e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dsrl", "many"])  # a change of phase; several updates a batch, and a reference
def test_resume_gives_what_an_uninterrupted_run_gives(
    scale, methods, trained, tmp_path, monkeypatch, mixed_rewards, name
):
    scale = changed(scale, engine=ENGINE)
    first, *rest = methods[name].phases
    methods = {name: changed(methods[name], phases=[changed(first, steps=4 if rest else None), *rest])}
    whole = run(trl, scale, methods, trained, tmp_path / "whole", name)
    assert whole[0].phase.tolist() == [0, 0, 0, 0, *([1, 1] if rest else [0, 0])]
    add = Session.add

    def killed(self, step, row, shown=True):
        if step == 5:
            raise KeyboardInterrupt
        add(self, step, row, shown)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            run(trl, scale, methods, trained, tmp_path / "killed", name)
    resumed = run(trl, scale, methods, trained, tmp_path / "killed", name)
    pd.testing.assert_frame_equal(resumed[0], whole[0])
    assert all(torch.equal(value, resumed[1][name]) for name, value in whole[1].items())


@pytest.mark.parametrize("name, value", [("loss", "nan"), ("gradient's norm", "inf")])
def test_a_number_that_is_none_stops_the_run_before_a_checkpoint(
    short, methods, trained, tmp_path, monkeypatch, mixed_rewards, name, value
):
    if name == "loss":
        loss = trl.loss_of
        monkeypatch.setattr(trl, "loss_of", lambda *a: loss(*a) * float(value))
    else:
        norm = torch.tensor(float(value))
        monkeypatch.setattr(Accelerator, "clip_grad_norm_", lambda self, parameters, limit, **_: norm)
    with pytest.raises(UserError, match=rf"grpo seed 0, update 1: the {name} is {value}"):
        run(trl, changed(short, engine=ENGINE), methods, trained, tmp_path, "grpo")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dsrl", "many"])
def test_two_processes_give_what_one_gives(short, methods, trained, tmp_path, double, mixed_rewards, name):
    scale = changed(short, engine=changed(ENGINE, processes=2))
    (tmp_path / "methods.yaml").write_text(yaml.safe_dump({"methods": {name: methods[name].model_dump()}}))
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(scale.model_dump()))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "tests.double",
    ]
    command += ["train", "--scale", tmp_path / "two.yaml", "--method", name, "--seed", "0"]
    command += ["--methods", tmp_path / "methods.yaml"]
    command += ["--model", trained / "model", "--problems", trained / "problems", "--out", tmp_path / "two"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("step 3/3") == 1  # one of them reports
    one = run(trl, changed(short, engine=ENGINE), methods, trained, tmp_path / "one", name)
    log = pd.read_parquet(tmp_path / "two/log.parquet").drop(columns=PACE)
    assert_same(one, (log, load_file(tmp_path / "two/checkpoints/step-00003/model.safetensors")), short)


@pytest.mark.slow
def test_of_several_processes_one_writes_the_results(short, methods, trained, tmp_path, monkeypatch, mixed_rewards):
    """Also of a run that was finished but for its results."""
    monkeypatch.setattr(Session, "finish", lambda self: finished.append(self))
    finished, scale = [], changed(short, engine=ENGINE)
    for rank, count in ((None, 1), ("1", 1), ("0", 2)):
        if rank:
            monkeypatch.setenv("RANK", rank)
        trl.train(scale, "grpo", methods["grpo"], 0, trained / "model", trained / "problems", tmp_path)
        assert len(finished) == count


def test_a_prompt_that_vllm_has_no_room_for_stops_the_run_before_vllm_starts(short, methods, trained, tmp_path):
    gpus = {"device": "cuda", "vllm": Vllm(tensor_parallel=1, memory=0.5, max_length=49)}
    scale = changed(short, engine=changed(ENGINE, **gpus))
    made = local.Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    session = Session(scale, "grpo", methods["grpo"], 0, trained / "model", trained / "problems", tmp_path)
    with pytest.raises(UserError, match=r"engine\.vllm\.max_length: 49 tokens do not hold the longest prompt \(9\)"):
        trl.PhaseTrainer(scale, methods["grpo"], made, session)
