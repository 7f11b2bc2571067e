"""What surrounds a training run, whichever engine makes its updates: configuration, checkpoints, log and record."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.errors import UserError
from prerl.files.atomic import read_json, read_jsonl, write, write_json, write_table
from prerl.files.checksums import checksums, intact, sha256
from prerl.files.fingerprint import fingerprint
from prerl.files.machine import hardware
from prerl.files.record import RunRecord
from prerl.model.checkpoint import Checkpoints
from prerl.settings.methods import Method
from prerl.settings.scale import Scale

NEARLY_ALL = 0.95  # a share of responses
SIGNED = "processes.json"  # while a run is not finished


class Session:
    """One run of one method from one seed. `log` holds a row an update, `done` the updates of an earlier process."""

    def __init__(
        self, scale: Scale, method_name: str, method: Method, seed: int, base: Path, problems: Path, out: Path
    ) -> None:
        self.rl, self.out = scale.rl, out
        check_sets(problems, scale.rl.prompts_per_step)
        aligned = method_name in scale.analysis.alignment_methods
        self.kept = scale.analysis.alignment_steps if aligned else []  # steps whose models are asked for later
        config = {
            "method": method_name,
            "seed": seed,
            "phases": [phase.model_dump() for phase in method.phases],
            "functions": method.sources(),
            "start_token": scale.start_token,
            "threads": scale.threads,
            "engine": scale.engine.model_dump(),
            "rl": scale.rl.model_dump(),
            "problems": scale.problems.model_dump(exclude={"dev", "benchmarks"}),
        }
        self.record = RunRecord("train", config)
        self.inputs = {name: sha256(path) for name in ("train", "dev") if (path := problems / f"{name}.jsonl").exists()}
        code = fingerprint(f"prerl.engines.{scale.engine.name}")
        self.inputs |= {"base": sha256(intact(base / "model.safetensors", base.parent / "run.json")), "code": code}
        self.checkpoints = Checkpoints(out / "checkpoints", config | self.inputs)
        self.log: list[dict[str, Any]] = []
        self.name = f"{method_name} seed {seed}"
        self.earlier: list[dict[str, Any]] = []  # versions, commit and hardware of processes that worked with others
        self.begin(0, [])

    def begin(self, done: int, log: list[dict[str, Any]]) -> None:
        """Goes on after `done` updates, with their rows of the log."""
        self.done, self.log = done, log
        self.progress = Progress(self.name, self.rl.steps, done)

    def sign(self) -> None:
        """Notes what this process works with, for the record of a run that another process, perhaps on another machine,
        began or will end. Of several processes, one does."""
        mine = {**{key: self.record.data[key] for key in ("versions", "commit")}, "hardware": hardware()}
        earlier = read_json(self.out / SIGNED) if self.done and (self.out / SIGNED).is_file() else []
        self.earlier = [one for one in earlier if one != mine]
        write_json(self.out / SIGNED, [*self.earlier, mine])

    def add(self, step: int, row: dict[str, Any], shown: bool = True) -> None:
        """Logs an update, and shows it: of several processes, one does."""
        self.log.append({"step": step, **row, **self.progress.pace(step, row)})
        if shown:
            self.progress.step(self.log[-1])

    @contextmanager
    def naming(self) -> Iterator[None]:
        """A UserError raised meanwhile says the run and the update that it came up in."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self.name}, update {len(self.log) + 1}: {error}") from error

    @property
    def collapsed(self) -> bool:
        """Whether the last updates were all skipped for want of a signal: the policy has collapsed (or solves
        everything) and will not move again."""
        return stopped(self.log, self.rl.stop_after_skipped)

    @property
    def stop_reason(self) -> str | None:
        """Why the run has collapsed, in words; None if it has not."""
        last = self.log[-self.rl.stop_after_skipped :]
        return reason(last, self.rl.max_new_tokens) if self.collapsed else None

    def due(self, step: int) -> bool:
        """Whether a dev evaluation and a checkpoint follow update `step`, just logged."""
        return step % self.rl.checkpoint_every == 0 or step == self.rl.steps or self.collapsed

    def best(self) -> int | None:
        """The update after which dev accuracy was highest; the first of equals. The untrained model is no candidate."""
        dev = self.checkpoints.tables()
        accuracy = dev[dev.step > 0].groupby("step").score.mean()
        return int(accuracy.index.to_numpy()[accuracy.to_numpy().argmax()]) if len(accuracy) else None

    def needed(self) -> set[int]:
        """The updates whose models are asked for later, besides the last."""
        return {self.best() or 0, *self.kept}

    def prune(self) -> None:
        """After a checkpoint: models that nothing will ask for take room, at the paper's size hundreds of gigabytes."""
        self.checkpoints.prune(self.needed())

    def finish(self) -> None:
        """Writes model/ (the best checkpoint on dev), log.parquet, dev.parquet and run.json."""
        dev, best = self.checkpoints.tables(), self.best()
        assert best is not None  # the last update of a run is evaluated
        write(self.out / "model", lambda path: self.checkpoints.export(best, path))
        write_table(self.out / "log.parquet", pd.DataFrame(self.log))
        write_table(self.out / "dev.parquet", dev)
        made = [self.out / name for name in ("model", "log.parquet", "dev.parquet")]
        self.record.write(
            self.out / "run.json",
            inputs=self.inputs,
            outputs=checksums(made, self.out),
            selected_step=best,
            updates=len(self.log),
            skipped_updates=sum(row["skipped"] for row in self.log),
            stopped_without_signal=self.collapsed,
            stop_reason=self.stop_reason,
            tokens=int(sum(row["tokens"] for row in self.log)),
            earlier=self.earlier,
        )
        (self.out / SIGNED).unlink(missing_ok=True)
        self.checkpoints.finish(self.needed())
        if self.stop_reason:
            at = f"stopped after update {len(self.log)} of {self.rl.steps}"
            print(f"{self.name}  {at}: {self.stop_reason}", file=sys.stderr, flush=True)


class Progress:
    """What a long run shows: a line an update to stderr, a line a dev evaluation to stdout."""

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


def check_sets(problems: Path, at_once: int) -> None:
    """Raises UserError if there is nothing to evaluate on, or fewer training problems than an update draws."""
    for name, least, use in (("dev", 1, "every choice is made on them"), ("train", at_once, "an update draws {}")):
        path = problems / f"{name}.jsonl"
        if path.exists() and (there := len(read_jsonl(path))) < least:  # Countdown's training problems have no file
            raise UserError(
                f"{path}: {there} problems, but {use.format(least)}: change problems.dev or rl.prompts_per_step, and "
                "make the problem sets anew"
            )


def reason(rows: list[dict[str, Any]], max_new_tokens: int) -> str:
    """Why updates, given as rows of the log, were all without a signal."""
    finished, reward = (sum(row[key] for row in rows) / len(rows) for key in ("finished", "reward"))
    if reward == 1:
        cause = "every response was right"
    elif finished <= 1 - NEARLY_ALL:
        which = "every response was" if finished == 0 else f"{1 - finished:.1%} of responses were"
        cause = f"{which} cut at rl.max_new_tokens ({max_new_tokens})"
    elif reward == 0:
        cause = "every response was wrong"
    else:
        cause = "in no group did rewards differ so that a response carried an advantage"
    return f"no signal in the last {len(rows)} update{'s' * (len(rows) > 1)}: {cause}"


def stopped(log: list[dict[str, Any]], patience: int) -> bool:
    return len(log) >= patience and all(row["skipped"] for row in log[-patience:])
