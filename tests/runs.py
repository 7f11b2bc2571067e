"""Training runs of the local engine, for several files of tests."""

import json

import pandas as pd

from prerl.engines.local import train

TIMING = ["generate_seconds", "update_seconds", "tokens_per_second", "seconds_left"]


def run(scale, methods, trained, out, name="grpo", seed=0):
    train(scale, name, methods[name], seed, trained / "model", trained / "problems", out)
    log = pd.read_parquet(out / "log.parquet").drop(columns=TIMING)
    weights = (out / "model/model.safetensors").read_bytes()
    return log, pd.read_parquet(out / "dev.parquet"), weights, json.loads((out / "run.json").read_text())


class Killed(Exception):
    pass
