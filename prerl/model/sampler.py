"""Sampling from a LeanModel with a key-value cache; rows that have ended leave the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prerl.model.decode import Decoder
from prerl.model.lean import LeanModel
from prerl.model.rows import RowCache, SharedCache

SHRINK_BELOW = 0.9  # copy the live rows to a smaller cache once fewer than this share of the rows is alive


@dataclass(frozen=True)
class Sampling:
    """How to sample. `temperature` 0 is greedy; `top_p` 1 keeps the whole distribution."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass
class Response:
    """One sampled response. `logp` and `entropy` are those of the distribution that was sampled from, in nats."""

    ids: list[int]  # the end token included, unless the response was cut at `max_new_tokens`
    logp: list[float]  # one a token
    entropy: float  # mean over tokens
    finished: bool  # whether it ended with the end token


@torch.inference_mode()
def sample(
    model: LeanModel,
    prompts: list[list[int]],
    repeats: int,
    sampling: Sampling,
    end_token_ids: set[int],
    pad_token_id: int,
    generator: torch.Generator,
) -> list[Response]:
    """Samples `repeats` responses to each prompt, prompt-major: len(prompts) * repeats responses.

    Prompts may differ in length (they are padded on the left); each is read once, whatever `repeats` is. Without end
    tokens all responses go to the limit. Raises ValueError for one that is in no vocabulary.
    """
    if min(end_token_ids, default=0) < 0:
        raise ValueError(f"end token {min(end_token_ids)}")
    width = max(map(len, prompts))
    pad = torch.tensor([width - len(prompt) for prompt in prompts])
    ids = torch.tensor([[pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts])
    pad = pad if bool(pad.any()) else None
    read = model.cache(len(prompts), width)
    hidden = model.hidden(ids, read, pad)[:, -1]
    each = torch.arange(len(prompts)).repeat_interleave(repeats)
    # A long prompt is read once for all its rows; of a short one a copy in each costs less.
    kind = SharedCache if width > sampling.max_new_tokens else RowCache
    cache = kind(read, pad, each, sampling.max_new_tokens, model.heads // model.kv_heads)
    decoder = Decoder(model, cache)
    end = torch.tensor(sorted(end_token_ids), dtype=torch.long)
    return _decode(decoder, model.logits(hidden)[each], sampling, end, generator)


def _decode(
    decoder: Decoder, logits: Tensor, sampling: Sampling, end: Tensor, generator: torch.Generator
) -> list[Response]:
    """Decodes all rows, from the logits (rows, vocabulary) of their first token to the end token or the limit."""
    count, limit = len(logits), sampling.max_new_tokens
    ends = torch.zeros(logits.shape[1], dtype=torch.bool).index_fill_(0, end, True)
    rows = torch.arange(count)  # which response each row of the cache belongs to
    ended = torch.zeros(count, dtype=torch.bool)  # of these rows
    steps = []  # rows, token, its log-probability, entropy
    for t in range(limit):
        log_probs = distribution(logits, sampling)
        probs = log_probs.exp()
        token = log_probs.argmax(-1) if sampling.temperature == 0 else pick(probs, generator)
        steps.append((rows, token, log_probs.gather(1, token[:, None])[:, 0], entropy_of(probs, log_probs)))
        ended |= ends[token]
        live = len(rows) - int(ended.count_nonzero())
        if live == 0 or t == limit - 1:
            break
        if live < SHRINK_BELOW * len(rows):
            kept = (~ended).nonzero()[:, 0]
            rows, token, ended = rows[kept], token[kept], ended[kept]
            decoder.take(kept)
        logits = decoder.step(token)
    tokens = torch.zeros(count, limit, dtype=torch.long)
    logp, entropy = torch.zeros(count, limit), torch.zeros(count, limit)
    for t, (rows, *found) in enumerate(steps):
        tokens[rows, t], logp[rows, t], entropy[rows, t] = found
    last = torch.isin(tokens, end).int()  # what a row made after its end does not count
    finished = last.any(1)
    lengths = torch.where(finished, last.argmax(1) + 1, limit)
    return [
        Response(row[:n], row_logp[:n], sum(row_entropy[:n]) / n, whole)
        for row, row_logp, row_entropy, n, whole in zip(
            tokens.tolist(), logp.tolist(), entropy.tolist(), lengths.tolist(), finished.tolist(), strict=True
        )
    ]


def entropy_of(probs: Tensor, log_probs: Tensor) -> Tensor:
    """(B,) in nats, of (B, vocabulary); what top_p has dropped, whose logarithm is minus infinity, has none."""
    return -torch.where(probs > 0, probs * log_probs, 0).sum(-1)


def pick(probs: Tensor, generator: torch.Generator) -> Tensor:
    """A token (B,) a row of probabilities (B, vocabulary), with one random number each.

    torch.multinomial draws one for each word of the vocabulary, which takes as long as the model itself where that is
    large. Sums of many small probabilities need double precision.
    """
    sums = probs.cumsum(-1, dtype=torch.float64)
    drawn = torch.rand(
        len(probs), 1, dtype=torch.float64, generator=generator, device="cpu"
    )  # on every device the same
    at = drawn.to(sums.device) * sums[:, -1:]
    # The first word whose sum exceeds the number: one with probability 0 never does first.
    return torch.searchsorted(sums, at, right=True)[:, 0].clamp(max=probs.shape[1] - 1)


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities (B, vocabulary) of the next token under the sampling settings."""
    if sampling.temperature not in (0, 1):
        logits = logits / sampling.temperature
    log_probs = logits.log_softmax(-1)
    if sampling.top_p < 1:
        # Keep the smallest set of most likely tokens whose mass reaches top_p; the most likely one always stays.
        ordered, index = log_probs.sort(-1, descending=True)
        before = ordered.exp().cumsum(-1) - ordered.exp()
        dropped = (before >= sampling.top_p).scatter(1, index, before >= sampling.top_p)
        log_probs = log_probs.masked_fill(dropped, -torch.inf).log_softmax(-1)
    return log_probs
