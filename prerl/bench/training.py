"""Measurements of training: a step of RL by each engine, what it spends its time on, how it grows."""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prerl.bench.work import Work, flops, timed, with_signal
from prerl.engines.update import Learner, make_batch
from prerl.model.adamw import AdamW
from prerl.model.lean import LeanModel
from prerl.model.processor import occupy
from prerl.model.sampler import Sampling, sample
from prerl.problems.world import world
from prerl.settings.methods import load_methods
from prerl.settings.scale import load_scale

QWEN = {  # Qwen3-0.6B's shape
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
}
VOCABULARY = 151936


def local_step(**work: Any) -> dict[str, Any]:
    """RL steps of the local engine: sampling, scoring, update (GRPO) on all samples."""
    from prerl.engines.local import Run

    here = Work(**work)
    method = load_methods(Path("workflow/methods.yaml"))["grpo"]
    run = Run(here.scale, method, 0, here.model, here.problems)
    run.score = with_signal(run.score)
    rows = []

    def step(number: int) -> int:
        rows.append(run.update(number + 1, method.phases[0]))
        return rows[-1]["tokens"]

    found = timed(step)
    seconds = {key: sum(row[key] for row in rows[1:]) for key in ("generate_seconds", "update_seconds")}
    tokens = sum(row["tokens"] for row in rows[1:])
    seconds["used_samples"] = sum(row["used_samples"] for row in rows[1:])
    return found | seconds | {"tokens": tokens, "flops_per_token": flops(run.model)}


def trl_step(**work: Any) -> dict[str, Any]:
    """RL steps on a scale's problems by TRL's GRPOTrainer as it comes, where transformers generates: see `timed`."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.grpo_trainer import GRPOTrainer

    from prerl.engines.trl_settings import settings
    from prerl.settings.engine import TrlEngine

    here = Work(**work)
    engine = TrlEngine(
        name="trl", device="cpu", processes=1, launch=None, precision="float32", gradient_checkpointing=False, vllm=None
    )
    rollouts = here.rl.prompts_per_step * here.rl.group_size
    even = max(size for size in range(1, here.rl.micro_batch + 1) if rollouts % size == 0)  # TRL wants them alike
    rl = here.rl.model_copy(update={"micro_batch": even})
    scale = here.scale.model_copy(update={"engine": engine, "rl": rl})
    source = world(scale.problems, here.problems)
    drawn = [problem for problems in here.drawn() for problem in problems]
    judge = with_signal(source.score)
    lengths: list[int] = []
    times = [time.monotonic()]

    def score(
        prompts: list[str], completions: list[str], completion_ids: Any, place: list[int], **_: Any
    ) -> list[float | None]:
        lengths.append(sum(map(len, completion_ids)))
        return [judge(text, drawn[index]) for text, index in zip(completions, place, strict=True)]

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times[:] = [time.monotonic()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.monotonic())

    with tempfile.TemporaryDirectory() as out:
        grpo = load_methods(Path("workflow/methods.yaml"))["grpo"]
        arguments = settings(scale, grpo, 0, here.rl.steps, Path(out))
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(here.model, local_files_only=True, dtype=torch.float32),
            reward_funcs=score,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": [p.prompt for p in drawn], "place": range(len(drawn))}),
            processing_class=AutoTokenizer.from_pretrained(here.model, local_files_only=True),
            callbacks=[Clock()],
        )
        trainer.train()
    pace = [tokens / (end - start) for tokens, start, end in zip(lengths, times, times[1:], strict=False)]
    return {"tokens_per_second": pace[1:]}


def trl_engine_step(
    work: str, updates: int, prompts: int, group: int, length: int, micro_batch: int, checkpointing: bool
) -> dict[str, Any]:
    """Updates by the TRL engine, without checkpoints, of a model with random weights and Qwen3-0.6B's shape, in
    bfloat16, all responses of the greatest length; `work` holds base/ with its tokenizer and problems/. Their rewards
    are made up, for such a model solves nothing. Returns the log's rows, and the peaks of the GPU's memory in bytes
    while it samples and while it learns."""
    from prerl.engines.policy import Policy
    from prerl.engines.session import Session
    from prerl.engines.trl import PhaseTrainer
    from prerl.settings.engine import TrlEngine

    scale = load_scale(Path("workflow/scales/tiny.yaml"))
    engine = TrlEngine(
        name="trl",
        device="cuda",
        processes=1,
        launch=None,
        precision="bfloat16",
        gradient_checkpointing=checkpointing,
        vllm=None,
    )
    changes = {"prompts_per_step": prompts, "group_size": group, "max_new_tokens": length, "micro_batch": micro_batch}
    rl = scale.rl.model_copy(update={**changes, "steps": updates, "learning_rate": 1e-6, "sample_batch": 128})
    scale = scale.model_copy(update={"engine": engine, "rl": rl})
    method = load_methods(Path("workflow/methods.yaml"))["grpo"]
    peaks: dict[str, list[int]] = {"sampling": [], "update": []}
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory) / "model"
        untrained(QWEN, VOCABULARY).save_pretrained(base)
        AutoTokenizer.from_pretrained(f"{work}/base/model", local_files_only=True).save_pretrained(base)
        problems = Path(work) / "problems"
        session = Session(scale, "grpo", method, 0, base, problems, Path(directory) / "run")
        policy: Any = Policy(scale, method, 0, base, problems)
        policy.score = with_signal(policy.score)
        policy.tokens.ends = [VOCABULARY - 1]  # so that nearly all responses are as long
        rollout = policy.rollout

        def sampling(*arguments: Any) -> Any:
            peaks["update"].append(torch.cuda.max_memory_allocated())
            torch.cuda.reset_peak_memory_stats()
            found = rollout(*arguments)
            peaks["sampling"].append(torch.cuda.max_memory_allocated())
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return found

        policy.rollout = sampling
        trainer = PhaseTrainer(scale, method, policy, session)
        trainer.saver.save = lambda: None
        trainer.train()
        peaks["update"].append(torch.cuda.max_memory_allocated())
    peaks["update"] = peaks["update"][1:]
    names = ("tokens", "generate_seconds", "update_seconds", "used_samples", "grad_norm", "sampler_gap")
    return {"rows": [{name: row[name] for name in names} for row in session.log], "peaks": peaks}


def untrained(architecture: dict[str, Any], vocabulary: int) -> Any:
    """A Qwen3 with random weights, on the CPU."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {**architecture, "vocab_size": vocabulary, "max_position_embeddings": 4096}
    with torch.device("cpu"):
        return Qwen3ForCausalLM(Qwen3Config(**sizes, tie_word_embeddings=True))


def growth(
    architecture: dict[str, Any], batch: int, length: int, threads: int, vocabulary: int, device: str = "cpu"
) -> dict[str, Any]:
    """Sampling and update of an untrained model, all responses of the same length, in micro-batches of 8."""
    occupy(threads, device)
    model = untrained(architecture, vocabulary).to(device)
    optimizer = AdamW(model.parameters(), lr=1e-6, weight_decay=0.01)
    scale = load_scale(Path("workflow/scales/smoke.yaml"))
    rl = scale.rl.model_copy(update={"micro_batch": 8, "max_new_tokens": length})
    learner = Learner(model, optimizer, rl)
    phase = load_methods(Path("workflow/methods.yaml"))["grpo"].phases[0]
    prompts = [[1, *range(3, 18)]] * (batch // 8)
    seconds = {"sampling": [], "update": []}
    for number in range(4):
        start = time.monotonic()
        with torch.inference_mode():
            lean = LeanModel(model)
            found = sample(lean, prompts, 8, Sampling(length), set(), 0, torch.Generator().manual_seed(number))
        middle = time.monotonic()
        rewards = [float(index % 2) for index in range(batch)]
        learner.learn(make_batch(prompts, found, rewards, 8, 0), phase, 1)
        seconds["sampling"].append(middle - start)
        seconds["update"].append(time.monotonic() - middle)
        if sum(map(sum, seconds.values())) > 40:
            break
    tokens = batch * length
    counted = {key: values[1:] or values for key, values in seconds.items()}
    pace = {f"{key}_tokens_per_second": tokens / statistics.median(values) for key, values in counted.items()}
    return pace | {"parameters": model.num_parameters(), "repeats": len(counted["update"])}


def where(**work: Any) -> dict[str, Any]:
    return {"operations": dict(operations(**work))}


def operations(**work: Any) -> Iterator[tuple[str, float]]:
    """Where an RL step's time goes: operation, share of the processor's time."""
    from torch.profiler import ProfilerActivity, profile

    from prerl.engines.local import Run

    here = Work(**work)
    method = load_methods(Path("workflow/methods.yaml"))["grpo"]
    run = Run(here.scale, method, 0, here.model, here.problems)
    run.score = with_signal(run.score)
    run.update(1, method.phases[0])
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run.update(2, method.phases[0])
    rows = [(row.key, row.self_cpu_time_total) for row in found.key_averages()]
    total = math.fsum(seconds for _, seconds in rows)
    for name, seconds in sorted(rows, key=lambda row: -row[1])[:8]:
        yield name, seconds / total
