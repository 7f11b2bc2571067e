"""The two halves of a block, attention and gated MLP, each with its way back written out.

On a small model, autograd's own operations take as long as the matrix products: it multiplies, adds and copies tensors
of which a formula needs a few. Here an RMS norm's weight stands in the matrix behind it (see `lean.py`), so what is
left of the norm is `x / length(x)`, whose gradient is two operations, and nothing is kept for the way back that is not
read there. Both are tested against transformers' gradients.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


def length(x: Tensor, least: Tensor) -> Tensor:
    """(..., size) -> (..., 1), the root of the sum of squares and of least², size * eps of an RMS norm: that divides by
    it, but for the root of the size."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(least)


def turned(heads: Tensor, angles: Tensor) -> Tensor:
    """Rotary positions: (..., head_dim), whose pairs of neighbours are complex numbers, times `angles`
    (..., head_dim / 2), complex numbers too. `lean.py` brings side by side what belongs together."""
    return torch.view_as_real(_complex(heads) * angles).flatten(-2)


def _complex(heads: Tensor) -> Tensor:
    return torch.view_as_complex(heads.unflatten(-1, (-1, 2)))


def _unit_back(gradient: Tensor, unit: Tensor, size: Tensor) -> Tensor:
    """The gradient of x from that of unit = x / size, size = length(x)."""
    along = (gradient * unit).sum(-1, keepdim=True)
    return torch.addcmul(gradient, unit, along, value=-1).div_(size)


class Unit(Function):
    """x / length(x, least)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: Tensor) -> Tensor:
        size = length(x, least)
        unit = x / size
        ctx.save_for_backward(unit, size)
        return unit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _unit_back(gradient, *ctx.saved_tensors), None


class Attention(Function):
    """x + attention(norm(x)), and the keys and values (B, kv_heads, T, head_dim) of its tokens."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (B, T, hidden)
        past_keys: Tensor | None,  # (B, kv_heads, P, head_dim), of the tokens before
        past_values: Tensor | None,
        mask: Tensor | None,  # added to the scores: (T, P + T) or (B, 1, 1, T, P + T)
        angles: Tensor,  # of the positions, as `turned` takes them
        qkv: Tensor,
        qkv_bias: Tensor | None,
        qk_norm: Tensor | None,
        out: Tensor,
        out_bias: Tensor | None,
        sizes: tuple[int, int, int],
        least: tuple[Tensor, Tensor],  # of the norms of x and of heads
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads, kv_heads, head_dim = sizes
        rows, count, _ = x.shape
        size = length(x, least[0])
        unit = x / size
        projected = F.linear(unit, qkv, qkv_bias).view(rows, count, -1, head_dim)
        qk, v = projected[:, :, : heads + kv_heads], projected[:, :, heads + kv_heads :]
        qk_size = qk_unit = None
        if qk_norm is not None:
            qk_size = length(qk, least[1])
            qk_unit = qk / qk_size
            qk = qk_unit * qk_norm
        qk = turned(qk, angles)
        # The queries that share a key-value head count as positions of one head.
        q = qk[:, :, :heads].transpose(1, 2).reshape(rows * kv_heads, -1, head_dim)
        own_keys = keys = qk[:, :, heads:].transpose(1, 2).contiguous()
        own_values = values = v.transpose(1, 2).contiguous()
        if past_keys is not None and past_values is not None:
            keys, values = torch.cat([past_keys, own_keys], 2), torch.cat([past_values, own_values], 2)
        # Detached: a view holds its base, an output, and that this node, so a graph that is kept would never die.
        keys, values = keys.detach().flatten(0, 1), values.detach().flatten(0, 1)
        weights = torch.bmm(q, keys.transpose(1, 2))
        if mask is not None:
            weights.view(rows, kv_heads, -1, count, weights.shape[-1]).add_(mask)
        weights = weights.softmax(-1)
        mixed = torch.bmm(weights, values).view(rows, heads, count, head_dim).transpose(1, 2).reshape(rows, count, -1)
        ctx.save_for_backward(unit, size, qk_unit, qk_size, qk_norm, q, keys, values, weights, mixed, angles, qkv, out)
        ctx.biased, ctx.past = (qkv_bias is not None, out_bias is not None), past_keys is not None
        ctx.set_materialize_grads(False)
        return _plus(x, mixed, out, out_bias), own_keys, own_values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, for_keys: Tensor | None, for_values: Tensor | None) -> Any:
        unit, size, qk_unit, qk_size, qk_norm, q, keys, values, weights, mixed, angles, qkv, out = ctx.saved_tensors
        rows, count, hidden = unit.shape
        head_dim = q.shape[-1]
        gradient = torch.zeros_like(unit) if gradient is None else gradient  # where only the keys were read
        flat = gradient.reshape(-1, hidden)
        for_mixed = (flat @ out).view(rows, count, -1, head_dim).transpose(1, 2).reshape(len(q), -1, head_dim)
        for_all_values = torch.bmm(weights.transpose(1, 2), for_mixed).view(rows, -1, keys.shape[1], head_dim)
        scores = torch.ops.aten._softmax_backward_data(
            torch.bmm(for_mixed, values.transpose(1, 2)), weights, -1, weights.dtype
        )
        for_q = torch.bmm(scores, keys).view(rows, -1, count, head_dim)
        for_all_keys = torch.bmm(scores.transpose(1, 2), q).view(rows, -1, keys.shape[1], head_dim)
        before = keys.shape[1] - count
        own_keys, own_values = for_all_keys[:, :, before:], for_all_values[:, :, before:]
        if for_keys is not None:
            own_keys = own_keys + for_keys
        if for_values is not None:
            own_values = own_values + for_values
        joined = torch.cat([for_q, own_keys, own_values], 1).transpose(1, 2)  # (B, T, heads + 2 kv_heads, head_dim)
        for_projected = joined.new_empty(joined.shape)
        turning = for_q.shape[1] + own_keys.shape[1]
        back = turned(joined[:, :, :turning], angles.conj())
        for_norm = None
        if qk_norm is not None:
            for_norm = (back * qk_unit).sum((0, 1))
            back = _unit_back(back * qk_norm, qk_unit, qk_size)
        for_projected[:, :, :turning], for_projected[:, :, turning:] = back, joined[:, :, turning:]
        for_projected = for_projected.view(len(flat), -1)
        for_x = _unit_back((for_projected @ qkv).view(unit.shape), unit, size).add_(gradient)
        return (
            for_x,
            for_all_keys[:, :, :before] if ctx.past else None,
            for_all_values[:, :, :before] if ctx.past else None,
            *(None, None),
            for_projected.t() @ unit.view(-1, hidden),
            for_projected.sum(0) if ctx.biased[0] else None,
            for_norm,
            flat.t() @ mixed.view(len(flat), -1),
            flat.sum(0) if ctx.biased[1] else None,
            *(None, None),
        )


class Mlp(Function):
    """x + down(silu(gate) * up) of norm(x). Other activations are left to autograd, see `lean.py`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gate_up: Tensor,
        gate_up_bias: Tensor | None,
        down: Tensor,
        down_bias: Tensor | None,
        least: Tensor,
    ) -> Tensor:
        size = length(x, least)
        unit = x / size
        gate, up = F.linear(unit, gate_up, gate_up_bias).chunk(2, -1)
        opened = F.silu(gate)
        inner = opened * up
        ctx.save_for_backward(unit, size, gate, up, opened, inner, gate_up, down)
        ctx.biased = gate_up_bias is not None, down_bias is not None
        return _plus(x, inner, down, down_bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        unit, size, gate, up, opened, inner, gate_up, down = ctx.saved_tensors
        flat, width = gradient.reshape(-1, gradient.shape[-1]), inner.shape[-1]
        for_inner = (flat @ down).view(inner.shape)
        both = inner.new_empty(*inner.shape[:-1], 2 * width)
        torch.mul(for_inner, opened, out=both[..., width:])
        torch.ops.aten.silu_backward.grad_input(for_inner.mul_(up), gate, grad_input=both[..., :width])
        both = both.view(-1, 2 * width)
        for_x = _unit_back((both @ gate_up).view(unit.shape), unit, size).add_(gradient)
        return (
            for_x,
            both.t() @ unit.view(len(both), -1),
            both.sum(0) if ctx.biased[0] else None,
            flat.t() @ inner.view(len(flat), -1),
            flat.sum(0) if ctx.biased[1] else None,
            None,
        )


def _plus(x: Tensor, inner: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x + F.linear(inner, weight, bias), where the product itself adds."""
    x = x if bias is None else x + bias
    return torch.addmm(x.flatten(0, -2), inner.flatten(0, -2), weight.t()).view(x.shape)
