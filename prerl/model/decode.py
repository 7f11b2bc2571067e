"""Decoding: the forward pass of one more token a row, with all that no token changes done beforehand.

A small model's step is not arithmetic but calls: each of torch's operations takes some microseconds whatever its size.
So a norm's weight is multiplied into the matrix behind it, the scale of the queries and the weights of their norm into
the rotation, and residuals are added by the matrix product itself. Sampling from the miniature is several times as fast
as with `LeanModel.hidden`, whose results these are up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from prerl.model.cache import RowCache, SharedCache
from prerl.model.lean import Layer, LeanModel


@dataclass
class Block:
    """One layer's weights, ready for a step."""

    qkv: Tensor  # ((heads + 2 kv_heads) * head_dim, hidden)
    qkv_bias: Tensor | None
    straight: Tensor  # (heads + kv_heads, head_dim), what cosines are multiplied with
    crossed: Tensor  # the same of sines and the rolled vector
    out: Tensor  # (heads * head_dim, hidden)
    out_bias: Tensor | None
    gate_up: Tensor
    gate_up_bias: Tensor | None
    activation: Callable[[Tensor], Tensor]
    down: Tensor  # (intermediate, hidden)
    down_bias: Tensor | None


class Decoder:
    """Reads a token a row after what the cache holds. For inference alone."""

    def __init__(self, model: LeanModel, cache: RowCache | SharedCache) -> None:
        self.model, self.cache = model, cache
        self.heads, self.kv_heads, self.head_dim = model.heads, model.kv_heads, model.head_dim
        self.normed = model.layers[0].qk_norm is not None
        root = model.hidden_size**0.5
        self.blocks = [self._block(layer, root) for layer in model.layers]
        self.unembedding = model.unembedding * (model.final_norm * root)
        self.least = {size: torch.tensor((size * model.eps) ** 0.5) for size in (model.hidden_size, model.head_dim)}
        self.frequency = torch.cat([model.inverse_frequency, model.inverse_frequency])

    def _block(self, layer: Layer, root: float) -> Block:
        half = self.head_dim // 2
        sign = torch.cat([-torch.ones(half), torch.ones(half)])
        weight = layer.qk_norm * self.head_dim**0.5 if self.normed else torch.ones(1, self.head_dim)
        scale = torch.ones(self.heads + self.kv_heads, 1)
        scale[: self.heads] = self.head_dim**-0.5
        return Block(
            qkv=layer.qkv * (layer.attention_norm * root),
            qkv_bias=layer.qkv_bias,
            straight=weight * scale,
            crossed=weight.roll(half, -1) * sign * scale,
            out=layer.out.t(),
            out_bias=layer.out_bias,
            gate_up=layer.gate_up * (layer.mlp_norm * root),
            gate_up_bias=layer.gate_up_bias,
            activation=layer.activation,
            down=layer.down.t(),
            down_bias=layer.down_bias,
        )

    def take(self, index: Tensor) -> None:
        """Keeps the given rows."""
        self.cache.take(index)

    def logits(self, hidden: Tensor) -> Tensor:
        """(rows, hidden), before the last norm -> (rows, vocabulary)"""
        return F.linear(self._unit(hidden, self.model.hidden_size), self.unembedding)

    def step(self, tokens: Tensor) -> Tensor:
        """tokens (rows,) -> logits (rows, vocabulary) of the next ones"""
        cache, rows = self.cache, len(tokens)
        positions = torch.full((1,), cache.start) if cache.pad is None else cache.start - cache.pad
        angles = positions[:, None, None] * self.frequency  # (1 or rows, 1, head_dim)
        cos, sin = angles.cos() * self.model.rotary_scale, angles.sin() * self.model.rotary_scale
        x = F.embedding(tokens, self.model.embedding)
        for index, block in enumerate(self.blocks):
            qkv = F.linear(self._unit(x, self.model.hidden_size), block.qkv, block.qkv_bias)
            qkv = qkv.view(rows, -1, self.head_dim)
            qk, v = qkv[:, : self.heads + self.kv_heads], qkv[:, self.heads + self.kv_heads :, None]
            if self.normed:
                qk = self._unit(qk, self.head_dim)
            qk = torch.addcmul(qk * (block.straight * cos), qk.roll(self.head_dim // 2, -1), block.crossed * sin)
            q, k = qk[:, : self.heads], qk[:, self.heads :, None]
            out = cache.attend(index, q.reshape(rows, self.kv_heads, -1, self.head_dim), k, v)
            x = torch.addmm(_plus(x, block.out_bias), out.reshape(rows, -1), block.out)
            unit = self._unit(x, self.model.hidden_size)
            gate, up = F.linear(unit, block.gate_up, block.gate_up_bias).chunk(2, -1)
            x = torch.addmm(_plus(x, block.down_bias), block.activation(gate).mul_(up), block.down)
        cache.advance(1)
        return self.logits(x)

    def _unit(self, x: Tensor, size: int) -> Tensor:
        """x / sqrt(x @ x + size * eps): an RMS norm without weight, but for the root of `size`, which stands in the
        weights."""
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(self.least[size])


def _plus(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias
