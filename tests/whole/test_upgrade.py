"""After an upgrade of torch nothing goes on from what the old version left, and the DAG makes every run anew."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version

import pytest
import torch

from prerl.base import pretrain as base
from prerl.base import supervised
from prerl.evaluation.alignment import align_base
from prerl.evaluation.comparison import Comparison
from prerl.evaluation.evaluate import evaluate
from prerl.evaluation.lm import RecordingLM
from prerl.evaluation.partial import Partial
from prerl.model.checkpoint import Checkpoints
from prerl.settings.scale import load_scale
from tests.helpers import ROOT, SMOKE_FILE, changed


class Killed(Exception):
    pass


@pytest.fixture
def upgraded(tmp_path, monkeypatch):
    """Makes torch another version, as its package's metadata say it, from here on."""

    def upgrade():
        metadata = tmp_path / "site/torch-9.9.9.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9\n")
        monkeypatch.syspath_prepend(str(metadata.parent))
        assert version("torch") == "9.9.9"
        return metadata.parent

    return upgrade


def test_a_checkpoint_of_another_torch_is_not_resumed_from(tmp_path, model, tokenizer, upgraded):
    optimizer = torch.optim.AdamW(model.parameters())
    Checkpoints(tmp_path / "run", {"a": 1}).save(3, model, tokenizer, optimizer, [{"step": 3}])
    assert Checkpoints(tmp_path / "run", {"a": 1}).resume(model, optimizer) == (3, [{"step": 3}])
    upgraded()
    assert Checkpoints(tmp_path / "run", {"a": 1}).resume(model, optimizer) == (0, [])


def test_a_partial_result_of_another_torch_is_not_used(tmp_path, upgraded):
    Partial(tmp_path / "partial", {"a": 1}).save(2, {"rows": [{"b": 1}]}, {})
    assert Partial(tmp_path / "partial", {"a": 1}).load()[0] == 2
    upgraded()
    assert Partial(tmp_path / "partial", {"a": 1}).load() == (0, {}, {})


def test_pretraining_starts_anew(scale, tmp_path, monkeypatch, capsys, upgraded):
    """Killed after its first checkpoint."""
    small = changed(scale, pretrain=changed(scale.pretrain, steps=4, warmup_steps=1, checkpoint_every=2))

    def steps(dies_at):
        count = []
        rate = supervised.learning_rate

        def counted(settings, step):
            if step == dies_at:
                raise Killed
            count.append(step)
            return rate(settings, step)

        with monkeypatch.context() as patch:
            patch.setattr(supervised, "learning_rate", counted)
            with suppress(Killed):
                base.pretrain(small, 0, tmp_path / "base")
        return count

    assert steps(dies_at=3) == [0, 1, 2] and steps(dies_at=3) == [2]
    upgraded()
    assert steps(dies_at=None) == [0, 1, 2, 3]


@pytest.mark.slow
def test_an_evaluation_with_other_threads_or_another_torch_starts_anew(scale, trained, tmp_path, monkeypatch, upgraded):
    """Killed in its second batch; it has left the first."""
    monkeypatch.setattr("prerl.evaluation.lm.SAVE_EVERY", -1)
    small = changed(scale, evaluation=changed(scale.evaluation, batch_size=16))

    def batches(settings, dies_after=None):
        sampled, sample = [], RecordingLM._generate

        def counted(self, problems):
            new = any((same[0].task_name, same[0].doc_id) not in self.known for same in problems)
            if new and dies_after == len(sampled):
                raise Killed
            sampled.append(1) if new else None
            return sample(self, problems)

        with monkeypatch.context() as patch:
            patch.setattr(RecordingLM, "_generate", counted)
            with suppress(Killed):
                evaluate(settings, trained / "model", trained / "problems", ROOT / "workflow/tasks", tmp_path)
        return len(sampled)

    every = batches(small)
    assert every > 3 and batches(small, dies_after=2) == 2 and batches(small) == every - 2
    batches(small, dies_after=2)
    assert batches(changed(small, threads=small.threads + 1)) == every
    batches(small, dies_after=2)
    upgraded()
    assert batches(small) == every


def test_gradients_with_other_threads_start_anew(scale, methods, trained, tmp_path, monkeypatch):
    """Killed when the rollouts were sampled."""
    sampled, sample = [], Comparison.sample
    monkeypatch.setattr(Comparison, "sample", lambda self: sampled.append(1) or sample(self))

    def die(self, batch, header):
        raise Killed

    for threads, expected in ((1, 1), (1, 1), (2, 2)):
        with monkeypatch.context() as patch:
            patch.setattr(Comparison, "gradients", die)
            with pytest.raises(Killed):
                asked = changed(scale, threads=threads)
                align_base(asked, methods, 0, trained / "model", trained / "problems", tmp_path)
        assert len(sampled) == expected


MADE = {
    "base": "base/seed0/run.json",
    "train": "dsrl/seed0/run.json",
    "evaluate": "dsrl/seed0/samples.parquet",
    "align_base": "base/seed0/alignment.parquet",
    "align_run": "dsrl/seed0/alignment.parquet",
}


@pytest.mark.slow
def test_the_dag_makes_anew_what_a_model_made_and_the_problems_stay(tmp_path, upgraded):
    """Each rule by itself, when what it reads has been made anew."""
    copy = tmp_path / "checkout"
    for name in ("workflow", "paper"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "Snakefile", copy)
    scale, results = load_scale(SMOKE_FILE), copy / "results/smoke"
    files = [f"problems/{name}.jsonl" for name in ("dev", *scale.problems.benchmarks)]
    files += [f"{run}/model/model.safetensors" for run in ("base/seed0", "dsrl/seed0")]
    files += [f"base/seed0/{name}.parquet" for name in ("positions", "noise", "halves")]
    files += [f"dsrl/seed0/{name}.parquet" for name in ("log", "dev")]
    files += [f"{run}/{name}.json" for run in ("base/seed0", "dsrl/seed0") for name in ("run", "evaluate", "alignment")]
    for name in {*files, *MADE.values()}:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).touch()

    def snakemake(*arguments, path=""):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "scale=smoke", *arguments]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
        result = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stdout

    targets = {rule: f"results/smoke/{name}" for rule, name in MADE.items()}
    snakemake("--touch", "--forceall", "--", *targets.values())
    assert "Nothing to be done" in snakemake("--dry-run", "--", *targets.values())
    path = upgraded()
    for rule, target in targets.items():
        plan = snakemake("--dry-run", "--rerun-triggers", "params", "--", target, path=path)
        assert re.findall(r"^rule (\w+):", plan, re.MULTILINE) == [rule]
        assert re.search(r"reason: Params have changed .*'9\.9\.9'", plan)
        snakemake("--touch", "--rerun-triggers", "params", "--", target, path=path)  # for those that read it
    assert "Nothing to be done" in snakemake("--dry-run", "--", "results/smoke/problems/dev.jsonl", path=path)
