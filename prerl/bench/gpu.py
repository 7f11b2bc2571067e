"""What one GPU does: the local engine beside the CPU's, and TRL's trainer with the objective of this package."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from prerl.base.committed import take_base
from prerl.bench.report import SIZES, measured
from prerl.bench.training import QWEN, VOCABULARY
from prerl.errors import UserError
from prerl.files.machine import hardware
from prerl.files.record import RunRecord
from prerl.problems.sets import write_problem_sets
from prerl.settings.model import CountdownProblems
from prerl.settings.scale import load_scale

# An update's rollouts at the size of one GPU are 512 responses of up to 1,024 tokens; here a part of them.
STEP = {"prompts": 16, "group": 8, "length": 1024}


def gpu(out: Path) -> None:
    """Measures, and writes out/gpu.json. Raises UserError where there is no GPU."""
    if not torch.cuda.is_available():
        raise UserError("no GPU: torch finds none here; see `nvidia-smi`")
    record = RunRecord("gpu", {"step": STEP, "architecture": QWEN})
    found: dict[str, Any] = {}
    scale = load_scale(Path("workflow/scales/tiny.yaml"))
    with tempfile.TemporaryDirectory() as directory:
        take_base(scale, Path("results/baselines/tiny/bases"), 0, Path(directory) / "base")
        assert isinstance(scale.problems, CountdownProblems)
        write_problem_sets(scale.problems, Path(directory) / "problems")
        paths = {"model": f"{directory}/base/model", "problems": f"{directory}/problems"}
        sizes = {"prompts": scale.rl.prompts_per_step, "group": scale.rl.group_size, "length": scale.rl.max_new_tokens}
        for device in ("cpu", "cuda"):
            work = {"scale": "workflow/scales/tiny.yaml", **paths, **sizes, "device": device}
            found[f"tiny, local engine, {device}"] = measured("local_step", **work)
            print(json.dumps(found[f"tiny, local engine, {device}"]), flush=True)
        for name, architecture, words in (("135M", SIZES["135M"], 49152), ("Qwen3-0.6B", QWEN, VOCABULARY)):
            key = f"{name}, local engine, cuda, float32"
            shape = {"architecture": architecture, "batch": 256, "length": 256, "threads": 1, "vocabulary": words}
            found[key] = measured("growth", **shape, device="cuda")
            print(key, json.dumps(found[key]), flush=True)
        for micro_batch, checkpointing in ((8, True), (8, False), (2, True)):
            key = f"Qwen3-0.6B, TRL engine, bfloat16, micro-batch {micro_batch}, checkpointing {checkpointing}"
            more = {"micro_batch": micro_batch, "checkpointing": checkpointing, "updates": 3}
            try:
                found[key] = measured("trl_engine_step", work=directory, **STEP, **more)
            except UserError as error:
                found[key] = {"error": str(error)}
            print(key, json.dumps(found[key]), flush=True)
            record.write(out / "gpu.json", measures=found, hardware=hardware())
    record.write(out / "gpu.json", measures=found)
