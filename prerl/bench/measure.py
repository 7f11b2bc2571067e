"""One measurement a process: `python -m prerl.bench.measure NAME JSON` prints its result as JSON, on the last line."""

import itertools
import json
import math
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prerl.engines.update import learn, make_batch
from prerl.model.lean import LeanModel
from prerl.model.processor import occupy
from prerl.model.sampler import Sampling, sample
from prerl.model.tokens import Tokens
from prerl.problems.world import Problem, world
from prerl.seeds import seed_of
from prerl.settings.methods import load_methods
from prerl.settings.scale import Scale, load_scale

REPEATS = 5
MEASURES: dict[str, Callable[..., dict[str, Any]]] = {}


def measure(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Registers a measurement under its function's name."""
    MEASURES[function.__name__] = function
    return function


def timed(run: Callable[[int], int]) -> dict[str, Any]:
    """tokens_per_second, five times: of `run`, which takes the repetition's number and returns the tokens it made. A
    first one is not counted."""
    found = []
    for number in range(REPEATS + 1):
        start = time.monotonic()
        tokens = run(number)
        found.append(tokens / (time.monotonic() - start))
    return {"tokens_per_second": found[1:]}


class Work:
    """A scale's model and problems, and the same `prompts` (token ids, a list a repetition) for whoever is measured."""

    def __init__(self, scale: str, model: str, problems: str, prompts: int, group: int, length: int) -> None:
        settings = load_scale(Path(scale))
        rl = settings.rl.model_copy(
            update={"prompts_per_step": prompts, "group_size": group, "max_new_tokens": length, "steps": REPEATS + 1}
        )
        self.scale: Scale = settings.model_copy(update={"rl": rl})
        self.model, self.problems, self.rl = Path(model), Path(problems), rl
        occupy(settings.threads)
        self.tokens, chat = Tokens(self.model), world(settings.problems, self.problems).chat
        self.prompts: list[list[list[int]]] = [
            self.tokens.read([problem.prompt for problem in problems], chat) for problems in self.drawn()
        ]

    def drawn(self) -> Iterator[list[Problem]]:
        """The problems of each repetition, those of training."""
        source = world(self.scale.problems, self.problems)
        for step in range(1, REPEATS + 2):
            yield source.draw(random.Random(seed_of(0, "problems", step)), self.rl.prompts_per_step)


def with_signal(score: Callable[[str, Any], float]) -> Callable[[str, Any], float]:
    """A judge that takes as long as `score` and finds every other response right: where a model solves nothing, the
    local engine skips the update, and its speed would be that of doing nothing."""
    turn = itertools.count()

    def judge(text: str, problem: Any) -> float:
        score(text, problem)
        return float(next(turn) % 2)

    return judge


@measure
def peak(threads: int) -> dict[str, Any]:
    """Floating-point operations a second of a matrix product, the most that a model can reach."""
    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048)

    def run(_: int) -> int:
        for _ in range(5):
            a @ a
        return 5 * 2 * 2048**3

    return {"flops": timed(run)["tokens_per_second"]}


@measure
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


@measure
def trl_step(**work: Any) -> dict[str, Any]:
    """RL steps on a scale's problems by TRL's GRPOTrainer as it comes, where transformers generates: see `timed`."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOTrainer

    from prerl.engines.trl_settings import settings
    from prerl.settings.engine import TrlEngine

    here = Work(**work)
    engine = TrlEngine(
        name="trl", processes=1, launch=None, precision="float32", gradient_checkpointing=False, vllm=None
    )
    scale = here.scale.model_copy(update={"engine": engine})
    source = world(scale.problems, here.problems)
    drawn = [problem for problems in here.drawn() for problem in problems]
    judge = with_signal(source.score)
    lengths: list[int] = []
    times = [time.monotonic()]

    def score(
        prompts: list[str], completions: list[str], completion_ids: Any, place: list[int], **_: Any
    ) -> list[float]:
        lengths.append(sum(map(len, completion_ids)))
        return [judge(text, drawn[index]) for text, index in zip(completions, place, strict=True)]

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            times[:] = [time.monotonic()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.monotonic())

    with tempfile.TemporaryDirectory() as out:
        arguments = settings(scale, 0, REPEATS + 1, Path(out))
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


@measure
def local_sampling(**work: Any) -> dict[str, Any]:
    here = Work(**work)
    model = AutoModelForCausalLM.from_pretrained(here.model, local_files_only=True, dtype=torch.float32)
    settings = Sampling(here.rl.max_new_tokens, here.rl.temperature, here.rl.top_p)
    with torch.inference_mode():
        lean = LeanModel(model)

    def run(number: int) -> int:
        end, generator = set(here.tokens.ends), torch.Generator().manual_seed(number)
        prompts = here.prompts[number]
        found = sample(lean, prompts, here.rl.group_size, settings, end, here.tokens.pad, generator)
        return sum(len(response.ids) for response in found)

    return timed(run) | {"flops_per_token": flops(model)}


@measure
def transformers_sampling(**work: Any) -> dict[str, Any]:
    here = Work(**work)
    model = AutoModelForCausalLM.from_pretrained(here.model, local_files_only=True, dtype=torch.float32)
    ends, pad = here.tokens.ends, here.tokens.pad

    def run(number: int) -> int:
        torch.manual_seed(number)
        prompts = here.prompts[number]
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=here.rl.temperature,
                top_p=here.rl.top_p,
                top_k=0,
                max_new_tokens=here.rl.max_new_tokens,
                num_return_sequences=here.rl.group_size,
                eos_token_id=ends,
                pad_token_id=pad,
            )[:, width:]
        end = torch.isin(out, torch.tensor(ends))
        ended = end.int().cumsum(1)
        return int(((ended == 0) | ((ended == 1) & end)).sum())

    return timed(run)


@measure
def vllm_sampling(**work: Any) -> dict[str, Any]:
    """vLLM on this machine, in float32."""
    from prerl.evaluation.lm_vllm import VllmLM

    here = Work(**work)
    length = max(len(prompt) for prompts in here.prompts for prompt in prompts) + here.rl.max_new_tokens
    lm = VllmLM(here.model, 1024, memory=0.4, max_length=length, precision="float32")
    settings = Sampling(here.rl.max_new_tokens, here.rl.temperature, here.rl.top_p)

    def run(number: int) -> int:
        prompts = here.prompts[number]
        seeds = [seed_of(number, place) % 2**31 for place in range(len(prompts))]
        return sum(len(one.ids) for one in lm._sample(prompts, here.rl.group_size, settings, [], seeds))

    return timed(run)


@measure
def growth(architecture: dict[str, int], batch: int, length: int, threads: int, vocabulary: int) -> dict[str, Any]:
    """Sampling and update of an untrained model, all responses of the same length, in micro-batches of 8."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    occupy(threads)
    torch.manual_seed(0)
    config = Qwen3Config(**architecture, vocab_size=vocabulary, max_position_embeddings=4096, tie_word_embeddings=True)
    model = Qwen3ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    scale = load_scale(Path("workflow/scales/smoke.yaml"))
    rl = scale.rl.model_copy(update={"micro_batch": 8, "max_new_tokens": length})
    phase = load_methods(Path("workflow/methods.yaml"))["grpo"].phases[0]
    prompts = [[1, *range(3, 18)]] * (batch // 8)
    seconds = {"sampling": [], "update": []}
    for number in range(4):
        start = time.monotonic()
        with torch.inference_mode():
            lean = LeanModel(model)
            found = sample(lean, prompts, 8, Sampling(length), {-1}, 0, torch.Generator().manual_seed(number))
        middle = time.monotonic()
        rewards = [float(index % 2) for index in range(batch)]
        learn(model, optimizer, make_batch(prompts, found, rewards, 8, 0), phase, rl, 1)
        seconds["sampling"].append(middle - start)
        seconds["update"].append(time.monotonic() - middle)
        if sum(map(sum, seconds.values())) > 40:
            break
    tokens = batch * length
    counted = {key: values[1:] or values for key, values in seconds.items()}
    pace = {f"{key}_tokens_per_second": tokens / statistics.median(values) for key, values in counted.items()}
    return pace | {"parameters": model.num_parameters(), "repeats": len(counted["update"])}


def flops(model: torch.nn.Module) -> int:
    """Floating-point operations of a forward pass, a token: two a weight; attention's own products are left out."""
    head = model.lm_head.weight.numel() if model.config.tie_word_embeddings else 0
    embedding = model.model.embed_tokens.weight.numel()
    return 2 * (sum(p.numel() for p in model.parameters()) - embedding + head)


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


@measure
def where(**work: Any) -> dict[str, Any]:
    return {"operations": dict(operations(**work))}


def main() -> None:
    name, settings = sys.argv[1:]
    found = MEASURES[name](**json.loads(settings))
    unit = 1 if sys.platform == "darwin" else 1024
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps(found))


if __name__ == "__main__":
    main()
