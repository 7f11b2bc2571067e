"""What a long training run shows while it runs."""

import sys
import time
from typing import Any

import pandas as pd


class Progress:
    """A line an update to stderr, a line a dev evaluation to stdout."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self.name, self.steps, self.done, self.start = name, steps, done, time.monotonic()

    def pace(self, step: int, row: dict[str, Any]) -> dict[str, float]:
        """Speed of the update in a row of the log, and the time left at the pace since the start of this process."""
        elapsed = time.monotonic() - self.start
        return {
            "tokens_per_second": row["tokens"] / (row["generate_seconds"] + row["update_seconds"]),
            "seconds_left": elapsed / (step - self.done) * (self.steps - step),
        }

    def step(self, row: dict[str, Any]) -> None:
        note = "  no signal: update skipped" if row["skipped"] else ""
        print(
            f"{self.name}  step {row['step']}/{self.steps}  reward {row['reward']:.3f}  length "
            f"{row['response_tokens']:.1f}  entropy {row['entropy']:.3f}  {row['tokens_per_second']:,.0f} tokens/s  "
            f"{row['seconds_left']:.0f} s left{note}",
            file=sys.stderr,
            flush=True,
        )

    def dev(self, step: int, scores: pd.DataFrame) -> None:
        accuracy, length = scores.score.mean(), scores.tokens.mean()
        print(f"{self.name}  step {step}/{self.steps}  dev accuracy {accuracy:.3f}  length {length:.1f}", flush=True)
