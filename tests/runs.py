"""Training runs of the local engine, for several files of tests."""

import json

import pandas as pd
import torch

from prerl.engines.local import train
from prerl.engines.update import make_batch
from prerl.model.lean import LeanModel
from prerl.model.plain import load_pretrained
from prerl.model.sampler import Sampling, sample

TIMING = ["generate_seconds", "update_seconds", "tokens_per_second", "seconds_left"]


def run(scale, methods, trained, out, name="grpo", seed=0):
    train(scale, name, methods[name], seed, trained / "model", trained / "problems", out)
    log = pd.read_parquet(out / "log.parquet").drop(columns=TIMING)
    weights = (out / "model/model.safetensors").read_bytes()
    return log, pd.read_parquet(out / "dev.parquet"), weights, json.loads((out / "run.json").read_text())


def rollouts(scale, trained):
    """A model, and a batch of its rollouts with rewards that differ within each group."""
    model = load_pretrained(trained / "model").to(torch.get_default_dtype())
    prompts = [[1, 20 + n, 30, 40][: 3 + n % 2] for n in range(4)]
    with torch.inference_mode():
        lean = LeanModel(model)
    responses = sample(lean, prompts, 4, Sampling(20), {2}, 0, torch.Generator().manual_seed(0))
    return model, make_batch(prompts, responses, [1.0, 0.0, 0.0, 1.0] * 3 + [0.0] * 4, 4, 0)


class Killed(Exception):
    pass
