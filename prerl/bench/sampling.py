"""Measurements of sampling: the same prompts answered by each sampler."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prerl.bench.work import Work, flops, timed
from prerl.model.lean import LeanModel
from prerl.model.sampler import Sampling, sample
from prerl.seeds import seed_of


def local_sampling(**work: Any) -> dict[str, Any]:
    here = Work(**work)
    model: Any = AutoModelForCausalLM.from_pretrained(here.model, local_files_only=True, dtype=torch.float32)
    settings = Sampling(here.rl.max_new_tokens, here.rl.temperature, here.rl.top_p)
    with torch.inference_mode():
        lean = LeanModel(model)

    def run(number: int) -> int:
        end, generator = set(here.tokens.ends), torch.Generator().manual_seed(number)
        prompts = here.prompts[number]
        found = sample(lean, prompts, here.rl.group_size, settings, end, here.tokens.pad, generator)
        return sum(len(response.ids) for response in found)

    return timed(run) | {"flops_per_token": flops(model)}


def transformers_sampling(**work: Any) -> dict[str, Any]:
    here = Work(**work)
    model: Any = AutoModelForCausalLM.from_pretrained(here.model, local_files_only=True, dtype=torch.float32)
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


def vllm_sampling(**work: Any) -> dict[str, Any]:
    """vLLM on this machine, in float32."""
    from prerl.evaluation.lm_vllm import VllmLM

    here = Work(**work)
    length = max(len(prompt) for prompts in here.prompts for prompt in prompts) + here.rl.max_new_tokens
    made: Any = VllmLM  # lm-eval's registry hides its type
    lm = made(here.model, 1024, memory=0.4, max_length=length, precision="float32")
    settings = Sampling(here.rl.max_new_tokens, here.rl.temperature, here.rl.top_p)

    def run(number: int) -> int:
        prompts = here.prompts[number]
        seeds = [seed_of(number, place) % 2**31 for place in range(len(prompts))]
        return sum(len(one.ids) for one in lm._sample(prompts, here.rl.group_size, settings, [], seeds))

    return timed(run)
