"""Decoding: the forward pass of one more token a row, with as few operations as there can be.

A small model's step is not arithmetic but calls: each of torch's operations takes some microseconds whatever its size.
So residuals are added by the matrix product itself, and what `LeanModel` has multiplied into its weights is not
computed again. Sampling from the miniature is several times as fast as with `LeanModel.hidden`, whose results these are
up to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from prerl.model.block import length, turned
from prerl.model.lean import LeanModel
from prerl.model.rows import RowCache, SharedCache


class Decoder:
    """Reads a token a row after what the cache holds. For inference alone."""

    def __init__(self, model: LeanModel, cache: RowCache | SharedCache) -> None:
        self.model, self.cache = model, cache
        self.unembedding = model.unembedding * (model.final_norm * model.hidden_size**0.5)

    def take(self, index: Tensor) -> None:
        """Keeps the given rows."""
        self.cache.take(index)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens (rows,) -> logits (rows, vocabulary) of the next ones"""
        model, cache, rows = self.model, self.cache, len(tokens)
        turning = model.heads + model.kv_heads
        angles = model.angles(torch.full((1,), cache.start) if cache.pad is None else cache.start - cache.pad)
        x = F.embedding(tokens, model.embedding)
        for index, layer in enumerate(model.layers):
            qkv = F.linear(x / length(x, model.least[0]), layer.qkv, layer.qkv_bias).view(rows, -1, model.head_dim)
            qk, v = qkv[:, :turning], qkv[:, turning:]
            if layer.qk_norm is not None:
                qk = (qk / length(qk, model.least[1])).mul_(layer.qk_norm)
            qk = turned(qk, angles)
            found = cache.attend(index, qk[:, : model.heads], qk[:, model.heads :], v)
            x = torch.addmm(_plus(x, layer.out_bias), found.reshape(rows, -1), layer.out.t())
            unit = x / length(x, model.least[0])
            gate, up = F.linear(unit, layer.gate_up, layer.gate_up_bias).chunk(2, -1)
            opened = F.silu(gate) if layer.activation is None else layer.activation(gate)
            x = torch.addmm(_plus(x, layer.down_bias), opened.mul_(up), layer.down.t())
        cache.advance()
        return F.linear(x / length(x, model.least[0]), self.unembedding)


def _plus(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias
