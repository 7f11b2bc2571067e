"""What goes wrong on real machines: damaged files, full disks, too little memory, numbers that are none."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from prerl import objective
from prerl.base import pretrain as base
from prerl.engines.local import Run
from prerl.errors import UserError, lacking
from prerl.evaluation.partial import Partial
from prerl.files.checksums import checksums, intact, read_table
from prerl.model import sampler
from prerl.model.checkpoint import Checkpoints
from prerl.problems.world import CountdownWorld
from tests.helpers import SMOKE_FILE, changed
from tests.runs import Killed, run


def flip(path, place=0.5):
    """One bit of a file is another one."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def killed(scale, methods, trained, out, monkeypatch, at=5):
    """A run that ended in its update `at`."""
    update = Run.update

    def dies(self, step, phase):
        if step == at:
            raise Killed
        return update(self, step, phase)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", dies)
        with pytest.raises(Killed):
            run(scale, methods, trained, out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "name", "first"),
    [
        (flip, "step-00004/model.safetensors", 3),
        (truncate, "step-00004/optimizer.safetensors", 3),
        (flip, "step-00004/state.json", 3),
        (truncate, "step-00004/checksums.json", 3),
        (flip, "step-00004/table.parquet", 3),
        (flip, "step-00000/table.parquet", 1),  # dev.parquet could no longer be made: all anew
        (flip, "step-00002/optimizer.safetensors", 1),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_run_ends_with_the_same_bytes(
    scale, methods, trained, tmp_path, monkeypatch, capsys, damage, name, first
):
    """Checkpoints after updates 0, 2 and 4; the run goes on from the last whole one before the damage."""
    analysis = changed(scale.analysis, alignment_steps=[2, 6])
    scale = changed(scale, rl=changed(scale.rl, checkpoint_every=2), analysis=analysis)
    whole = run(scale, methods, trained, tmp_path / "whole")
    killed(scale, methods, trained, tmp_path / "run", monkeypatch)
    damage(tmp_path / "run/checkpoints" / name)
    capsys.readouterr()
    again = run(scale, methods, trained, tmp_path / "run")
    said = capsys.readouterr().err
    assert f"prerl: {tmp_path}/run/checkpoints/{name}: damaged" in said
    assert f"step {first}/6" in said and f"step {first - 1}/6  reward" not in said
    assert again[0].equals(whole[0]) and again[1].equals(whole[1]) and again[2] == whole[2]


def test_only_the_two_newest_checkpoints_keep_their_optimiser(tmp_path, model, tokenizer):
    checkpoints, optimizer = Checkpoints(tmp_path, {}), torch.optim.AdamW(model.parameters())
    for step in (0, 3, 6):
        checkpoints.save(step, model, tokenizer, optimizer, [])
        checkpoints.prune({0})
    names = {path.parent.name for path in tmp_path.glob("*/optimizer.safetensors")}
    assert names == {"step-00003", "step-00006"}
    checkpoints.finish({0})
    assert not list(tmp_path.glob("*/optimizer.safetensors"))
    assert {path.parent.name for path in tmp_path.glob("*/model.safetensors")} == {"step-00000", "step-00006"}


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/config.json", "log.parquet", "dev.parquet"])
def test_a_damaged_result_is_set_aside(scale, methods, trained, tmp_path, name):
    *_, record = run(scale, methods, trained, tmp_path)
    path = tmp_path / name
    assert intact(path, tmp_path / "run.json") == path and name in record["outputs"]
    truncate(path)
    with pytest.raises(UserError, match=rf"{path.name}: damaged .* it is {path.name}\.damaged now"):
        intact(path, tmp_path / "run.json")
    with pytest.raises(UserError, match=r"not found; run the stage"):
        intact(path, tmp_path / "run.json")
    assert path.with_name(f"{path.name}.damaged").is_file()


def test_every_table_has_its_checksum_where_it_is_looked_for(tmp_path):
    for name, record in [("samples", "evaluate"), ("halves", "alignment"), ("dev", "run")]:
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(b"no table")
        (tmp_path / f"{record}.json").write_text(json.dumps({"outputs": checksums([path], tmp_path)}))
        path.write_bytes(b"another")
        with pytest.raises(UserError, match="damaged"):
            read_table(path)


def test_a_damaged_partial_result_is_not_used(tmp_path, capsys):
    partial = Partial(tmp_path / "partial", {"key": 1})
    partial.save(2, {"rows": [{"a": 1}]}, {"sum": torch.ones(3)})
    assert partial.load()[0] == 2
    flip(tmp_path / "partial/sums.safetensors")
    assert partial.load() == (0, {}, {}) and "sums.safetensors: damaged" in capsys.readouterr().err


LIMITED = """
import psutil, resource, sys
from prerl import cli
import prerl.engines.local, prerl.evaluation.evaluate, prerl.evaluation.lm
resource.setrlimit(resource.{limit}, ({size}, resource.RLIM_INFINITY))
sys.argv = ["prerl", *sys.argv[1:]]
cli.main()
"""


def limited(limit, size, *arguments):
    """The command, in a process that gets no more of something."""
    program = LIMITED.format(limit=limit, size=size)
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)


def trains(trained, out, scale=SMOKE_FILE):
    paths = ("--model", trained / "model", "--problems", trained / "problems", "--out", out)
    return ("train", "--scale", scale, "--method", "grpo", "--seed", 0, *paths)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
def test_a_full_disk_is_one_line_and_leaves_what_was_there(trained, tmp_path):
    result = limited("RLIMIT_FSIZE", 30_000, *trains(trained, tmp_path))
    assert result.returncode == 2 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"prerl: {tmp_path}/checkpoints/step-00000: cannot be written: File too large: make room")
    assert not list((tmp_path / "checkpoints").iterdir())
    done = limited("RLIMIT_CORE", 0, *trains(trained, tmp_path))  # room was made
    assert done.returncode == 0 and (tmp_path / "run.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
def test_too_little_memory_is_one_line(scale, trained, tmp_path):
    large = changed(scale, rl=changed(scale.rl, prompts_per_step=20_000, sample_batch=160_000))
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(large.model_dump()))
    job = trains(trained, tmp_path, tmp_path / "large.yaml")
    result = limited("RLIMIT_AS", "psutil.Process().memory_info().vms + (500 << 20)", *job)
    assert result.returncode == 2 and result.stderr.splitlines()[-1].startswith("prerl: not enough memory: run fewer")


def test_errors_of_the_machine_are_known_in_every_librarys_words():
    with pytest.raises(RuntimeError) as torch_error:
        torch.empty(1 << 60)
    with pytest.raises(MemoryError) as numpy_error:
        np.empty(1 << 55)
    for error in (torch_error.value, numpy_error.value, OSError(12, "Cannot allocate memory")):
        assert lacking(error).startswith("not enough memory")
    assert lacking(OSError(28, "x")).startswith("No space left on device: make room")
    assert lacking(RuntimeError("I/O error: ... (os error 30)")).startswith(
        "Read-only file system: make room, or allow"
    )
    try:
        try:
            raise OSError(28, "x")
        finally:
            raise ValueError("while cleaning up")
    except ValueError as error:
        assert lacking(error).startswith("No space")
    assert lacking(OSError(111, "Connection refused")) is lacking(ValueError("x")) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_may_not_be_written_is_one_line(trained, tmp_path):
    tmp_path.chmod(0o555)
    result = limited("RLIMIT_CORE", 0, *trains(trained, tmp_path / "run"))
    tmp_path.chmod(0o755)
    assert result.returncode == 2 and "Permission denied" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_spoils_no_checkpoint(
    scale, methods, trained, tmp_path, monkeypatch, mixed_rewards, value
):
    whole = run(scale, methods, trained, tmp_path / "whole")
    update, loss, at = Run.update, objective.loss_of, []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", lambda self, step, phase: at.append(step) or update(self, step, phase))
        patch.setattr("prerl.engines.update.loss_of", lambda *a: loss(*a) * (value if at[-1] == 4 else 1))
        with pytest.raises(UserError, match=r"grpo seed 0, update 4: the loss is (nan|-?inf); the run stops here"):
            run(scale, methods, trained, tmp_path / "run")
    again = run(scale, methods, trained, tmp_path / "run")
    assert again[0].equals(whole[0]) and again[2] == whole[2]


def test_a_gradient_that_is_no_number_moves_no_weight(scale, methods, trained, tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, limit: torch.tensor(float("inf")))
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: steps.append(1))
    with pytest.raises(UserError, match="update 1: the gradient's norm is inf"):
        run(scale, methods, trained, tmp_path)
    assert not steps and (tmp_path / "checkpoints/step-00000/model.safetensors").is_file()


def test_pretraining_stops_at_a_loss_that_is_no_number(scale, tmp_path, monkeypatch):
    monkeypatch.setattr(base.F, "cross_entropy", lambda logits, labels, **_: logits.sum() * float("nan"))
    with pytest.raises(UserError, match="the loss is nan"):
        base.pretrain(scale, 0, tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_judge_that_fails_says_over_which_response_and_the_run_goes_on_later(
    scale, methods, trained, tmp_path, monkeypatch
):
    whole = run(scale, methods, trained, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(CountdownWorld, "score", lambda self, text, problem: 1 / 0)
        with pytest.raises(ZeroDivisionError) as caught:
            run(scale, methods, trained, tmp_path / "run")
    assert caught.value.__notes__[0].startswith("while judging the response to ")
    assert run(scale, methods, trained, tmp_path / "run")[2] == whole[2]


def test_a_model_that_only_ends_stops_for_want_of_a_signal(scale, methods, trained, tmp_path, monkeypatch):
    end = 2  # <eos>
    monkeypatch.setattr(sampler, "pick", lambda probs, generator: torch.full((len(probs),), end))
    patient = changed(scale, rl=changed(scale.rl, steps=12, stop_after_skipped=4))
    log, dev, _, record = run(patient, methods, trained, tmp_path)
    assert record["stopped_without_signal"] and record["updates"] == record["skipped_updates"] == 4
    assert (log.response_tokens == 1).all() and (dev.response == "").all() and (dev.score == 0).all()
    assert (tmp_path / "model/model.safetensors").read_bytes() == (trained / "model/model.safetensors").read_bytes()
