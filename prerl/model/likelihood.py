"""log P(y|x) of responses by a LeanModel, and of what they go on from: their prompts, read once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from prerl.model.cache import Prompts
from prerl.model.joint import uncut
from prerl.model.lean import LeanModel
from prerl.objective import Batch

LOGITS_AT_ONCE = 1 << 24  # 64 MB; more, as large vocabularies have, are computed in chunks, and again on the way back


def response_hidden(model: LeanModel, batch: Batch, prompts: Prompts | None = None) -> Tensor:
    """Final hidden states that predict the response tokens, given what stands in front of them: the batch's prompts,
    or the same already read, one row a response. Prompts that stand in several rows are read once for all.

    Returns (B, T, hidden); the values at padding tokens mean nothing.
    """
    if prompts is None and len(batch.rewards) == 1 and bool(batch.prompt_mask.all()):
        ids = torch.cat([batch.prompt_ids, batch.response_ids], 1)  # one row: in one pass
        return model.hidden(ids[:, :-1])[:, batch.prompt_ids.shape[1] - 1 :]
    if prompts is None:
        prompts, each = read_prompts(model, batch)
        prompts = prompts.take(each)
    parts = [prompts.last]
    if batch.response_ids.shape[1] > 1:
        parts.append(model.hidden(batch.response_ids[:, :-1], prompts, prompts.pad))
    return torch.cat(parts, 1)


def read_prompts(model: LeanModel, batch: Batch, cut: Callable[[Tensor], Tensor] = uncut) -> tuple[Prompts, Tensor]:
    """The batch's different prompts, each read once, and (B,) which of them each row goes on from."""
    width = batch.prompt_ids.shape[1]
    rows, each = torch.cat([batch.prompt_ids, batch.prompt_mask], 1).unique(dim=0, return_inverse=True)
    ids, mask = rows.split(width, 1)
    return Prompts(model, ids, mask, cut), each


def response_logp(
    model: LeanModel,
    batch: Batch,
    hidden: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Log-probabilities (B, T) of the response tokens, from their `response_hidden` if that is known already.

    `temperature` is the one that they were sampled with: the policy is the softmax of logits / temperature.
    """
    hidden = response_hidden(model, batch) if hidden is None else hidden
    ids = batch.response_ids.flatten()
    return _in_chunks(_token_logp, model.unembedding, hidden, temperature, ids)


def response_entropy(model: LeanModel, hidden: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropies (B, T), in nats, of the policy that each response token was drawn from, from the `response_hidden`."""
    return _in_chunks(_token_entropy, model.unembedding, hidden, temperature)


def _in_chunks(
    function: Callable[..., Tensor], unembedding: Tensor, hidden: Tensor, temperature: float, *columns: Tensor
) -> Tensor:
    """A function of each token's hidden state, and of columns (N,), for hidden (B, T, hidden size) -> (B, T)"""
    tokens = hidden.flatten(0, 1)
    size = max(1, LOGITS_AT_ONCE // unembedding.shape[0])
    if len(tokens) <= size:
        return function(unembedding, temperature, tokens, *columns).view(hidden.shape[:2])
    parts = [
        checkpoint(function, unembedding, temperature, *part, use_reentrant=False)
        for part in zip(*(column.split(size) for column in (tokens, *columns)), strict=True)
    ]
    return torch.cat(parts).view(hidden.shape[:2])


def _token_logp(unembedding: Tensor, temperature: float, hidden: Tensor, ids: Tensor) -> Tensor:
    """hidden (N, hidden size), ids (N,) -> (N,)"""
    return -F.cross_entropy(_logits(unembedding, temperature, hidden), ids, reduction="none")


def _token_entropy(unembedding: Tensor, temperature: float, hidden: Tensor) -> Tensor:
    """hidden (N, hidden size) -> (N,)"""
    logp = _logits(unembedding, temperature, hidden).log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def _logits(unembedding: Tensor, temperature: float, hidden: Tensor) -> Tensor:
    logits = F.linear(hidden, unembedding)
    return logits if temperature == 1 else logits / temperature
