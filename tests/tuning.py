"""Runs of a tuning, made up, as `prerl train` leaves them."""

import numpy as np
import pandas as pd

PROBLEMS, SAMPLES = 5, 4


def write_dev(path, accuracies, every=5):
    """Dev responses of a run that is right on exactly these shares of them, which are twentieths, at steps 0, `every`,
    2 * `every`, ..."""
    size = PROBLEMS * SAMPLES
    steps = [
        pd.DataFrame(
            {
                "step": every * index,
                "problem": np.repeat([f"p{number}" for number in range(PROBLEMS)], SAMPLES),
                "sample": np.tile(np.arange(SAMPLES), PROBLEMS),
                "score": (np.arange(size) < round(share * size)).astype(float),
                "tokens": 30,
                "entropy": 1.0,
                "finished": True,
            }
        )
        for index, share in enumerate(accuracies)
    ]
    path.mkdir(parents=True)
    pd.concat(steps, ignore_index=True).to_parquet(path / "dev.parquet")


def write_tuning(results, tuning, methods, curve):
    """Every candidate of the methods from every seed; `curve` gives dev accuracies by method, candidate and seed."""
    for name, method in methods.items():
        for tuned in tuning.candidates(method):
            for seed in tuning.seeds:
                write_dev(results / name / tuned.name / f"seed{seed}", curve(name, tuned, seed))
