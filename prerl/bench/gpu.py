"""What one GPU does: the local engine there beside the CPU's, and TRL's trainer with the objective of this package."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

from prerl.base.committed import take_base
from prerl.bench.report import SIZES, WORDS, measured
from prerl.bench.training import QWEN, VOCABULARY
from prerl.errors import UserError
from prerl.files.record import RunRecord
from prerl.problems.sets import write_problem_sets
from prerl.settings.model import CountdownProblems
from prerl.settings.scale import load_scale

SCALE, BASES = Path("workflow/scales/tiny.yaml"), Path("results/baselines/tiny/bases")
# Rollouts of 8 problems, an eighth of those of an update at qwen3-0.6b, in other micro-batches.
STEPS = [
    {"updates": 2, "prompts": 8, "group": 8, "length": 512, "micro_batch": 8, "checkpointing": True},
    {"updates": 2, "prompts": 8, "group": 8, "length": 512, "micro_batch": 8, "checkpointing": False},
    {"updates": 2, "prompts": 8, "group": 8, "length": 1024, "micro_batch": 4, "checkpointing": True},
]


def gpu(out: Path) -> Path:
    """Measures for some minutes, and writes out/NAME.json by the GPU's name, whose path it returns. Raises UserError
    where there is no GPU."""
    if not torch.cuda.is_available():
        raise UserError("bench-gpu: torch finds no GPU here; see `nvidia-smi`")
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    record, found, scale = RunRecord("bench", {"steps": STEPS, "architecture": QWEN}), {}, load_scale(SCALE)
    with tempfile.TemporaryDirectory() as directory:
        take_base(scale, BASES, 0, Path(directory) / "base")
        assert isinstance(scale.problems, CountdownProblems)
        write_problem_sets(scale.problems, Path(directory) / "problems")
        sizes = {"prompts": scale.rl.prompts_per_step, "group": scale.rl.group_size, "length": scale.rl.max_new_tokens}
        work = {"scale": str(SCALE), "model": f"{directory}/base/model", "problems": f"{directory}/problems", **sizes}
        for device in ("cpu", "cuda"):
            found[f"tiny, local engine, {device}"] = measured("local_step", **work, device=device)
        for model, shape, words in (("135M", SIZES["135M"], WORDS["135M"]), ("Qwen3-0.6B", QWEN, VOCABULARY)):
            batch: dict[str, Any] = {"batch": 256, "length": 256, "threads": 1, "vocabulary": words, "device": "cuda"}
            key = f"{model}, local engine, cuda, float32"
            found[key] = measured("growth", architecture=shape, **batch)
        for step in STEPS:
            key = "Qwen3-0.6B, TRL engine, bfloat16, " + json.dumps(step)
            found[key] = measured("trl_engine_step", work=directory, **step)
    record.write(out / f"{name}.json", measures=found)
    return out / f"{name}.json"
