"""The samplers as lm-eval models: what they share, and the local one, registered as `prerl-local`."""

import sys
import time
from abc import abstractmethod
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from prerl.evaluation.lm_settings import sampling
from prerl.evaluation.partial import Partial
from prerl.model.lean import LeanModel
from prerl.model.plain import load
from prerl.model.sampler import Response, Sampling, sample
from prerl.model.tokens import Tokens
from prerl.problems.prompts import chat_text
from prerl.seeds import seed_of

SAVE_EVERY = 60  # seconds


class RecordingLM(TemplateLM):
    """Generates and keeps what it generated in `generated[task, doc_id]`, a list of dicts."""

    def __init__(self, pretrained: Path | str, batch_size: int | str) -> None:
        super().__init__()
        self.tokens = Tokens(Path(pretrained))
        self.tokenizer = self.tokens.tokenizer
        self.batch_size = int(batch_size)
        self.generated: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.template_options: dict[str, bool] = {}  # of the chat template, for lm-eval's own tasks
        self.chat = False  # whether prompts are made by the chat template
        self.versions: dict[str, str] = {}  # of packages that this sampler alone needs
        self.partial: Partial | None = None
        self.known: dict[tuple[str, int], list[dict[str, Any]]] = {}  # what an earlier process generated

    def resume(self, partial: Partial) -> None:
        """Goes on from what a killed process left there, and leaves the same every minute."""
        self.partial = partial
        for row in partial.load()[1].get("generated", []):
            self.known.setdefault((row.pop("task"), row.pop("doc_id")), []).append(row)

    @abstractmethod
    def _sample(
        self, prompts: list[list[int]], repeats: int, sampling: Sampling, until: list[str], seeds: list[int]
    ) -> list[Response]:
        """`repeats` responses to each prompt, prompt-major; a seed a prompt. Texts are cut at the strings `until`
        afterwards, so a response may end there already."""

    @property
    def eot_token_id(self) -> int:
        return self.tokenizer.eos_token_id  # pyright: ignore[reportReturnType]  (transformers looks it up when asked)

    @property
    def prefix_token_id(self) -> int:
        first = self.tokenizer.bos_token_id
        return first if first is not None else self.eot_token_id  # pyright: ignore[reportReturnType]

    @property
    def tokenizer_name(self) -> str:
        return self.tokenizer.name_or_path

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        options = {"add_generation_prompt": add_generation_prompt, "continue_final_message": not add_generation_prompt}
        options |= self.template_options
        return chat_text(self.tokenizer, chat_history, **options)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        if add_special_tokens is False:
            return self.tokenizer.encode(string, add_special_tokens=False)
        return self.tokens.read([string], self.chat)[0]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        # The repeats of a problem follow each other; they share one reading of the prompt.
        problems = [list(same) for _, same in groupby(requests, key=lambda r: (r.task_name, r.doc_id, r.args[0]))]
        texts: list[str] = []
        start = saved = time.monotonic()
        for _, alike in groupby(problems, key=lambda same: (same[0].task_name, len(same), str(_settings(same[0])))):
            alike = list(alike)
            size = max(1, self.batch_size // len(alike[0]))
            for first in range(0, len(alike), size):
                texts += self._generate(alike[first : first + size])
                self._report(start, len(texts), len(requests))
                if self.partial and time.monotonic() - saved > SAVE_EVERY:
                    self._save(self.partial)
                    saved = time.monotonic()
        return texts

    def _save(self, partial: Partial) -> None:
        rows = [
            {"task": task, "doc_id": doc_id, **response}
            for (task, doc_id), responses in self.generated.items()
            for response in responses
        ]
        partial.save(len(rows), {"generated": rows}, {})

    def _generate(self, problems: list[list[Instance]]) -> list[str]:
        """Responses to problems that have the same task, number of repeats and generation settings."""
        first, repeats = problems[0][0], len(problems[0])
        keys = [_key(same[0]) for same in problems]
        if all(len(self.known.get(key, ())) == repeats for key in keys):
            self.generated |= {key: self.known[key] for key in keys}
            return [response["response"] for key in keys for response in self.known[key]]
        until = _settings(first).get("until") or []
        until = [until] if isinstance(until, str) else until
        prompts = [self.tok_encode(same[0].args[0]) for same in problems]
        seeds = [seed_of("evaluate", same[0].task_name, same[0].doc_id) for same in problems]
        settings = sampling(_settings(first), f"task {first.task_name}")
        responses = self._sample(prompts, repeats, settings, until, seeds)
        texts = [_until(text, until) for text in self.tokens.texts([response.ids for response in responses])]
        for index, key in enumerate(keys):
            rows = slice(index * repeats, (index + 1) * repeats)
            kept = [_kept(text, response) for text, response in zip(texts[rows], responses[rows], strict=True)]
            self.generated[key] = kept
        return texts

    def _report(self, start: float, done: int, of: int) -> None:
        elapsed = time.monotonic() - start
        tokens = sum(response["tokens"] for responses in self.generated.values() for response in responses)
        pace = f"{tokens / elapsed:,.0f} tokens/s  {elapsed / done * (of - done):.0f} s left"
        print(f"evaluation  response {done}/{of}  {pace}", file=sys.stderr, flush=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        texts = [request.args[0] for request in requests]
        pairs = [
            (("", text), [self.prefix_token_id], self.tok_encode(text, add_special_tokens=False)) for text in texts
        ]
        return [logp for logp, _ in self._loglikelihood_tokens(pairs)]


@register_model("prerl-local")
class LocalLM(RecordingLM):
    """lm-eval's interface to `prerl.model.sampler`, on the CPU.

    One batch size always gives the same responses, another gives others of the same distribution.
    """

    def __init__(self, pretrained: Path | str, batch_size: int | str = 1024, device: str | None = None) -> None:
        super().__init__(pretrained, batch_size)
        with torch.inference_mode():
            self.lean = LeanModel(load(Path(pretrained)))

    def _sample(
        self, prompts: list[list[int]], repeats: int, sampling: Sampling, until: list[str], seeds: list[int]
    ) -> list[Response]:
        generator = torch.Generator().manual_seed(seeds[0])  # one stream for the batch
        return sample(self.lean, prompts, repeats, sampling, set(self.tokens.ends), self.tokens.pad, generator)

    @torch.inference_mode()
    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        scored = []
        for _, context, continuation in requests:
            ids = torch.tensor([context + continuation])
            logits = self.lean.logits(self.lean.hidden(ids[:, :-1]))[0, len(context) - 1 :]
            target = ids[0, len(context) :, None]
            logp = logits.log_softmax(-1).gather(1, target)
            scored.append((float(logp.sum()), bool((logits.argmax(-1) == target[:, 0]).all())))
        return scored


def _key(request: Instance) -> tuple[str, int]:
    """Its task and problem, which lm-eval has set."""
    assert request.task_name is not None and request.doc_id is not None
    return request.task_name, request.doc_id


def _settings(request: Instance) -> dict[str, Any]:
    """How the task wants a response to be generated."""
    return request.args[1]  # pyright: ignore[reportGeneralTypeIssues]  (lm-eval declares a tuple of nothing)


def _until(text: str, stops: list[str]) -> str:
    return min((text.split(stop, 1)[0] for stop in stops), key=len, default=text)


def _kept(text: str, response: Response) -> dict[str, Any]:
    return {
        "response": text,
        "tokens": len(response.ids),
        "entropy": response.entropy,
        "finished": response.finished,
    }
