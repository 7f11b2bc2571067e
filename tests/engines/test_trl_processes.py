"""What several processes or GPUs need of the TRL engine: a launcher, vLLM's seeds, a model in pieces."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from prerl.engines import trl
from prerl.engines.launch import launch
from prerl.engines.trl_vllm import seed_responses
from prerl.settings.scale import load_scale
from tests.helpers import ROOT


def test_vllms_seeds_follow_the_run_and_the_update_and_not_what_was_sampled_before():
    """Of an engine as far as seeds go; tests/evaluation/test_vllm.py asks the real one."""

    class Engine:
        def generate(self, prompts, sampling_params, use_tqdm):
            return [settings.seed for settings in sampling_params]

    def drawn(seed, step, process, before=0, tensor_parallel=2):
        trainer = SimpleNamespace(
            drawing=(seed, "rollout", step),
            accelerator=SimpleNamespace(process_index=process),
            room=SimpleNamespace(tensor_parallel=tensor_parallel),
        )
        engine, settings = Engine(), SimpleNamespace(seed=None)
        settings.clone = lambda: SimpleNamespace(**vars(settings))
        seed_responses(engine, lambda count: trl.PhaseTrainer._seeds(trainer, count))
        for count in (before, 4):
            found = engine.generate(["prompt"] * count, sampling_params=settings, use_tqdm=False)
        assert settings.seed is None
        return found

    first = drawn(0, 1, 0)
    assert len(set(first)) == 4 and first == drawn(0, 1, 0, before=7)  # of a process that has sampled before
    assert drawn(0, 1, 1) == first  # which shares the engine
    others = [drawn(0, 1, 2), drawn(0, 2, 0), drawn(1, 1, 0)]
    assert len({*first, *(seed for found in others for seed in found)}) == 16
    assert drawn(0, 1, 1, tensor_parallel=1) == drawn(0, 1, 2)  # the second engine's, either way


@pytest.mark.slow
def test_a_model_in_pieces_is_saved_whole_and_goes_on(trained, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launcher, "-m", "tests.sharded", str(trained / "model"), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    whole, resumed = (
        {file: load_file(tmp_path / name / f"step-00002/{file}.safetensors") for file in ("model", "optimizer")}
        for name in ("whole", "resumed")
    )
    alone = load_file(tmp_path / "alone/model.safetensors")
    assert whole["model"].keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(whole["model"][name], value, atol=1e-5, rtol=1e-4)
    for file, tensors in whole.items():
        assert all(torch.equal(value, resumed[file][name]) for name, value in tensors.items())


def test_on_gpus_accelerate_starts_the_same_command_with_a_configuration_that_it_reads(monkeypatch):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    path, started = ROOT / "workflow/scales/qwen3-4b.yaml", []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    monkeypatch.setattr(sys, "argv", ["prerl", "train", "--scale", "x.yaml"])
    launch(load_scale(path).engine, path)
    (command,) = started
    assert command[1:3] == ["-m", "accelerate.commands.launch"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(command[3:]))
    assert (arguments.module, arguments.training_script) == (True, "prerl.cli")
    assert arguments.training_script_args == ["train", "--scale", "x.yaml"]
    assert (arguments.use_fsdp, arguments.fsdp_version, arguments.num_processes) == (True, 2, 8)
    monkeypatch.setenv("RANK", "0")
    launch(load_scale(path).engine, path)  # a process that was started goes on
    assert len(started) == 1
