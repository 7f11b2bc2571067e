"""Responses to many prompts, a batch of limited size at a time."""

import sys
from typing import TYPE_CHECKING

import torch

from prerl.model.lean import LeanModel
from prerl.model.processor import computing_on
from prerl.model.sampler import Response, Sampling, sample
from prerl.model.tokens import Tokens
from prerl.settings.scale import Reinforce

if TYPE_CHECKING:
    from prerl.model.plain import Model


@torch.inference_mode()
def sample_all(
    model: "Model",
    tokens: Tokens,
    prompts: list[list[int]],
    repeats: int,
    rl: Reinforce,
    seed: int,
    name: str | None = None,
) -> list[Response]:
    """`repeats` responses to each prompt (token ids), prompt-major, at most rl.sample_batch at a time (but always all
    of one prompt): what a large model keeps for them, its keys and values, has to fit into memory. With a name it tells
    how far it is."""
    lean, generator = LeanModel(model), torch.Generator().manual_seed(seed)
    sampling = Sampling(rl.max_new_tokens, rl.temperature, rl.top_p)
    size = max(1, rl.sample_batch // repeats)
    parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    responses: list[Response] = []
    for part in parts:
        with computing_on(lean.embedding.device):
            responses += sample(lean, part, repeats, sampling, set(tokens.ends), tokens.pad, generator)
        if name:
            print(f"{name}  response {len(responses)}/{len(prompts) * repeats}", file=sys.stderr, flush=True)
    return responses
