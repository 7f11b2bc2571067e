"""A lean forward pass over a transformers model's own parameters, shared by pretraining, RL and the sampler.

It covers the decoder family of Qwen3, Qwen2 and Llama (rotary positions, RMS norm, gated MLP, grouped-query attention),
as far as `families.py` says. On small models most of transformers' time is overhead around the arithmetic; this forward
is the arithmetic alone, and equals transformers' to 1e-5. Gradients reach the parameters of the model that is given.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prerl.model.block import Attention, Mlp, Unit, turned
from prerl.model.cache import Cache, Prompts
from prerl.model.joint import uncut

if TYPE_CHECKING:
    from prerl.model.plain import Model

SCORES_AT_ONCE = 1 << 23  # of attention; more, as long sequences have, are never stored, at some cost of speed


@dataclass
class Layer:
    """One block's weights, made so that they need few operations: q, k and v (and gate and up) joined, each norm's
    weight multiplied into the matrix behind it, the scale of the scores into what makes the queries, and in queries and
    keys those numbers side by side that rotary positions mix."""

    qkv: Tensor  # ((heads + 2 kv_heads) * head_dim, hidden)
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # (heads + kv_heads, head_dim)
    out: Tensor  # (hidden, heads * head_dim)
    out_bias: Tensor | None
    gate_up: Tensor  # (2 * intermediate, hidden)
    gate_up_bias: Tensor | None
    activation: Callable[[Tensor], Tensor] | None  # None: SiLU
    down: Tensor  # (hidden, intermediate)
    down_bias: Tensor | None


class LeanModel:
    """The forward pass. Build one anew after every change of the parameters: joined weights are copies.

    With gradients enabled the copies are part of the graph, so backward reaches the model's parameters; a `Joint` as
    `cut` keeps it from doing so each time.
    """

    def __init__(self, model: "Model", cut: Callable[[Tensor], Tensor] = uncut) -> None:
        config = model.config
        self.hidden_size = config.hidden_size
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.embedding, self.final_norm = model.model.embed_tokens.weight, model.model.norm.weight
        self.unembedding = model.lm_head.weight
        self.silu = config.hidden_act == "silu"
        sizes = self.hidden_size, self.head_dim
        self.least = tuple(self.embedding.new_tensor((size * config.rms_norm_eps) ** 0.5) for size in sizes)
        self.layers = self._layers(model, cut)
        self.inverse_frequency = model.model.rotary_emb.inv_freq
        self.rotary_scale = model.model.rotary_emb.attention_scaling

    def _layers(self, model: "Model", cut: Callable[[Tensor], Tensor]) -> list[Layer]:
        return list(self._join(model, cut))

    def _join(self, model: "Model", cut: Callable[[Tensor], Tensor]) -> Iterator[Layer]:
        root, scale = self.hidden_size**0.5, self.head_dim**-0.5  # of the norm that `Unit` leaves out, of scores
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            q: Tensor = self._paired(attention.q_proj.weight)
            biases: list[Any] = [attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias]
            biases[:2] = [None if bias is None else self._paired(bias) for bias in biases[:2]]
            qk_norm = None
            if hasattr(attention, "q_norm"):
                q_norm, k_norm = (self._paired(norm.weight) for norm in (attention.q_norm, attention.k_norm))
                k_norm = k_norm * scale**-1
                qk_norm = cut(torch.cat([q_norm.expand(self.heads, -1), k_norm.expand(self.kv_heads, -1)]))
            else:
                q = q * scale
                biases[0] = None if biases[0] is None else biases[0] * scale
            gated = mlp.gate_proj.bias is not None
            rows = torch.cat([q, self._paired(attention.k_proj.weight), attention.v_proj.weight])
            yield Layer(
                qkv=cut(rows * (block.input_layernorm.weight * root)),
                qkv_bias=None if biases[0] is None else cut(torch.cat(biases)),
                qk_norm=qk_norm,
                out=attention.o_proj.weight,
                out_bias=attention.o_proj.bias,
                gate_up=cut(
                    torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
                    * (block.post_attention_layernorm.weight * root)
                ),
                gate_up_bias=cut(torch.cat([mlp.gate_proj.bias, mlp.up_proj.bias])) if gated else None,
                activation=None if self.silu else mlp.act_fn.forward,
                down=mlp.down_proj.weight,
                down_bias=mlp.down_proj.bias,
            )

    def _paired(self, weight: Tensor) -> Tensor:
        """Rows of queries or keys (heads * head_dim, ...) in another order: those that a rotation mixes, half a head
        apart, as neighbours. Products of queries and keys do not change."""
        return weight.unflatten(0, (-1, 2, self.head_dim // 2)).transpose(1, 2).flatten(0, 2)

    def cache(self, rows: int, length: int) -> Cache:
        return Cache(len(self.layers), rows, self.kv_heads, length, self.head_dim)

    def angles(self, positions: Tensor) -> Tensor:
        """Complex numbers by which `turned` rotates: positions (...) -> (..., 1, head_dim / 2)"""
        turns = (positions[..., None] * self.inverse_frequency).unsqueeze(-2)
        return torch.polar(torch.full_like(turns, self.rotary_scale), turns)

    def hidden(self, ids: Tensor, cache: Cache | Prompts | None = None, pad: Tensor | None = None) -> Tensor:
        """Final hidden states of `ids`, after what the cache holds if one is given.

        ids     (B, T) token ids
        pad     (B,) number of padding tokens on the left of each row, or None if there are none; positions start
                after the padding, and nothing attends to it
        returns (B, T, hidden)
        """
        start, count = cache.start if cache else 0, ids.shape[1]
        positions = torch.arange(start, start + count)
        angles = self.angles(positions if pad is None else (positions - pad[:, None]).clamp(min=0))
        long = len(ids) * self.heads * count * (start + count) > SCORES_AT_ONCE
        attend = self._long_attention if long else self._attention
        mask = _mask(positions, start + count, pad)
        x = F.embedding(ids, self.embedding)
        for index, layer in enumerate(self.layers):
            past = cache.past(index) if cache else (None, None)
            x, keys, values = attend(x, layer, past, mask, angles)
            if cache:
                cache.keep(index, keys, values)
            x = self._mlp(x, layer)
        if cache:
            cache.advance(count)
        return Unit.apply(x, self.least[0]) * (self.final_norm * self.hidden_size**0.5)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden) -> (..., vocabulary)"""
        return F.linear(hidden, self.unembedding)

    def _attention(self, x: Tensor, layer: Layer, past: "Past", mask: Tensor | None, angles: Tensor) -> "Attended":
        sizes = self.heads, self.kv_heads, self.head_dim
        weights = layer.qkv, layer.qkv_bias, layer.qk_norm, layer.out, layer.out_bias
        return Attention.apply(x, *past, mask, angles, *weights, sizes, self.least)

    def _long_attention(self, x: Tensor, layer: Layer, past: "Past", mask: Tensor | None, angles: Tensor) -> "Attended":
        """The same without the scores of all pairs in memory."""
        rows, count, _ = x.shape
        qkv = F.linear(Unit.apply(x, self.least[0]), layer.qkv, layer.qkv_bias).view(rows, count, -1, self.head_dim)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if layer.qk_norm is not None:
            qk = Unit.apply(qk, self.least[1]) * layer.qk_norm
        q, k = turned(qk, angles).split([self.heads, self.kv_heads], dim=2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, T, head_dim)
        keys, values = (own if old is None else torch.cat([old, own], 2) for own, old in zip((k, v), past, strict=True))
        # Told that it is causal, torch leaves out half of the work; for that there must be a query for every key.
        causal = mask is not None and mask.dim() == 2
        q = F.pad(q, (0, 0, keys.shape[2] - count, 0)) if causal else q
        seen = None if causal or mask is None else mask.view(-1, 1, *mask.shape[-2:])
        grouped = self.heads != self.kv_heads
        found = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=seen, is_causal=causal, scale=1.0, enable_gqa=grouped
        )
        found = found[:, :, -count:].transpose(1, 2).reshape(rows, count, -1)
        return x + F.linear(found, layer.out, layer.out_bias), k, v

    def _mlp(self, x: Tensor, layer: Layer) -> Tensor:
        weights = layer.gate_up, layer.gate_up_bias, layer.down, layer.down_bias
        if layer.activation is None:
            return Mlp.apply(x, *weights, self.least[0])
        gate, up = F.linear(Unit.apply(x, self.least[0]), *weights[:2]).chunk(2, -1)
        return x + F.linear(layer.activation(gate) * up, *weights[2:])


Past = tuple[Tensor | None, Tensor | None]  # keys and values
Attended = tuple[Tensor, Tensor, Tensor]  # the sum, keys and values of its tokens


def _mask(positions: Tensor, columns: int, pad: Tensor | None) -> Tensor | None:
    """What is added to the scores of queries at `positions` (T,), 0 or minus infinity: (T, columns), or with padding
    (B, 1, 1, T, columns). A padding query attends to itself alone, so that its softmax is not empty."""
    if pad is None and len(positions) == 1:
        return None
    place = torch.arange(columns)
    visible = place <= positions[:, None]
    if pad is not None:
        own = (place >= pad[:, None, None]) | (place == positions[:, None])  # (B, T, columns)
        visible = (visible & own)[:, None, None]
    return torch.zeros(visible.shape).masked_fill_(~visible, -torch.inf)


class PassingModel(LeanModel):
    """For one forward pass: joins the weights of a layer when it gets there. A large model has no memory for a copy."""

    def _layers(self, model: "Model", cut: Callable[[Tensor], Tensor]) -> Iterable[Layer]:
        return self._join(model, cut)
