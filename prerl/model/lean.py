"""A lean forward pass over a transformers model's own parameters, shared by pretraining, RL and the sampler.

It covers the decoder family of Qwen3, Qwen2 and Llama (rotary positions, RMS norm, gated MLP, grouped-query attention),
as far as `families.py` says. On small models most of transformers' time is overhead around the arithmetic; this forward
is the arithmetic alone, and equals transformers' to 1e-5. Gradients reach the transformers model, which also loads and
saves itself.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from prerl.model.cache import Cache, Prompts
from prerl.model.families import check_logits, read_model
from prerl.objective import Batch

LOGITS_AT_ONCE = 1 << 24  # 64 MB; more, as large vocabularies have, are computed in chunks, and again on the way back


def load(path: Path) -> PreTrainedModel:
    """Loads a model directory (safetensors) in float32, without dropout. Raises UserError if it is not covered, lacks
    weights, or if the logits of `LeanModel` are not transformers'."""
    model = read_model(path)
    with torch.inference_mode():
        lean = _PassingModel(model)
        check_logits(model, lambda ids: lean.logits(lean.hidden(ids)), path)
    return model


@dataclass
class Layer:
    """One block's weights, with q, k and v (and gate and up) joined so that each needs a single matrix product."""

    qkv: Tensor  # ((heads + 2 kv_heads) * head_dim, hidden)
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # (heads + kv_heads, head_dim)
    out: Tensor
    out_bias: Tensor | None
    gate_up: Tensor  # (2 * intermediate, hidden)
    gate_up_bias: Tensor | None
    activation: Callable[[Tensor], Tensor]
    down: Tensor
    down_bias: Tensor | None
    attention_norm: Tensor
    mlp_norm: Tensor


class LeanModel:
    """The forward pass. Build one anew after every change of the parameters: the joined weights are copies.

    With gradients enabled the copies are part of the graph, so backward reaches the transformers model's parameters.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        self.hidden_size, self.eps = config.hidden_size, config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.embedding, self.final_norm = model.model.embed_tokens.weight, model.model.norm.weight
        self.unembedding = model.lm_head.weight
        self.layers = self._layers(model)
        self.inverse_frequency = model.model.rotary_emb.inv_freq
        self.rotary_scale = model.model.rotary_emb.attention_scaling

    def _layers(self, model: PreTrainedModel) -> list[Layer]:
        return list(self._join(model))

    def _join(self, model: PreTrainedModel) -> Iterator[Layer]:
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            qkv, qkv_bias = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
            gate_up, gate_up_bias = _joined(mlp.gate_proj, mlp.up_proj)
            normed = hasattr(attention, "q_norm")
            yield Layer(
                qkv=qkv,
                qkv_bias=qkv_bias,
                qk_norm=torch.cat(
                    [
                        attention.q_norm.weight.expand(self.heads, -1),
                        attention.k_norm.weight.expand(self.kv_heads, -1),
                    ]
                )
                if normed
                else None,
                out=attention.o_proj.weight,
                out_bias=attention.o_proj.bias,
                gate_up=gate_up,
                gate_up_bias=gate_up_bias,
                activation=mlp.act_fn.forward,  # a module's call takes longer than a small model's arithmetic
                down=mlp.down_proj.weight,
                down_bias=mlp.down_proj.bias,
                attention_norm=block.input_layernorm.weight,
                mlp_norm=block.post_attention_layernorm.weight,
            )

    def cache(self, rows: int, length: int) -> Cache:
        return Cache(len(self.layers), rows, self.kv_heads, length, self.head_dim)

    def hidden(self, ids: Tensor, cache: Cache | Prompts | None = None, pad: Tensor | None = None) -> Tensor:
        """Final hidden states of `ids`, after what the cache holds if one is given.

        ids     (B, T) token ids
        pad     (B,) number of padding tokens on the left of each row, or None if there are none; positions start
                after the padding, and nothing attends to it
        returns (B, T, hidden)
        """
        start = cache.start if cache else 0
        positions = torch.arange(start, start + ids.shape[1])
        columns, mask = torch.arange(start + ids.shape[1]), None
        if pad is None and start and ids.shape[1] > 1:
            mask = columns <= positions[:, None]  # (T, columns)
        if pad is not None:
            # A padding query attends to itself alone, so that its softmax is not empty.
            visible = (columns >= pad[:, None, None]) | (columns == positions[:, None])
            mask = (visible & (columns <= positions[:, None]))[:, None]  # (B, 1, T, columns)
            positions = (positions - pad[:, None]).clamp(min=0)  # (B, T)
        angles = positions[..., None] * self.inverse_frequency
        angles = torch.cat([angles, angles], -1).unsqueeze(-2)  # (T, 1, head_dim) or (B, T, 1, head_dim)
        rotation = angles.cos() * self.rotary_scale, angles.sin() * self.rotary_scale
        x = F.embedding(ids, self.embedding)
        for index, layer in enumerate(self.layers):
            x = x + self._attention(self._norm(x, layer.attention_norm), layer, rotation, index, cache, mask)
            gate, up = F.linear(self._norm(x, layer.mlp_norm), layer.gate_up, layer.gate_up_bias).chunk(2, -1)
            x = x + F.linear(layer.activation(gate) * up, layer.down, layer.down_bias)
        if cache:
            cache.advance(ids.shape[1])
        return self._norm(x, self.final_norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden) -> (..., vocabulary)"""
        return F.linear(hidden, self.unembedding)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)

    def _attention(
        self,
        x: Tensor,
        layer: Layer,
        rotation: tuple[Tensor, Tensor],
        index: int,
        cache: Cache | Prompts | None,
        mask: Tensor | None,
    ) -> Tensor:
        rows, length, _ = x.shape
        qkv = F.linear(x, layer.qkv, layer.qkv_bias).view(rows, length, -1, self.head_dim)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if layer.qk_norm is not None:
            qk = F.rms_norm(qk, (self.head_dim,), eps=self.eps) * layer.qk_norm
        first, second = qk.chunk(2, -1)
        qk = qk * rotation[0] + torch.cat([-second, first], -1) * rotation[1]
        q, k = qk.split([self.heads, self.kv_heads], dim=2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, T, head_dim)
        if cache:
            k, v = cache.extend(index, k, v)
        grouped = self.heads != self.kv_heads
        causal = mask is None and length > 1
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
        out = out.transpose(1, 2).reshape(rows, length, -1)
        return F.linear(out, layer.out, layer.out_bias)


class _PassingModel(LeanModel):
    """For one forward pass: joins the weights of a layer when it gets there. A large model has no memory for a copy."""

    def _layers(self, model: PreTrainedModel) -> Iterable[Layer]:
        return self._join(model)


def _joined(*projections: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Their weights, and their biases if they have any."""
    biased = projections[0].bias is not None
    return (
        torch.cat([projection.weight for projection in projections]),
        torch.cat([projection.bias for projection in projections]) if biased else None,
    )


def response_hidden(model: LeanModel, batch: Batch, prompts: Prompts | None = None) -> Tensor:
    """Final hidden states that predict the response tokens, given what stands in front of them: the batch's prompts,
    or the same already read, one row a response. Long prompts that stand in several rows are read once for all.

    Returns (B, T, hidden); the values at padding tokens mean nothing.
    """
    if prompts is None:
        width = batch.prompt_ids.shape[1]
        rows, index = torch.cat([batch.prompt_ids, batch.prompt_mask], 1).unique(dim=0, return_inverse=True)
        if (len(index) - len(rows)) * width <= batch.response_ids.numel():
            return _joint_hidden(model, batch)  # two passes cost more than prompts this short
        prompts = Prompts(model, *rows.split(width, 1)).take(index)
    parts = [prompts.last]
    if batch.response_ids.shape[1] > 1:
        parts.append(model.hidden(batch.response_ids[:, :-1], prompts, prompts.pad))
    return torch.cat(parts, 1)


def _joint_hidden(model: LeanModel, batch: Batch) -> Tensor:
    """(B, T, hidden): what `response_hidden` returns, from one pass over prompts and responses together. Rows are moved
    to the left so that padding only follows: a plain causal pass is right for prompts of any length."""
    ids = torch.cat([batch.prompt_ids, batch.response_ids], 1)
    width, length = ids.shape[1], batch.response_ids.shape[1]
    prompt_lengths = batch.prompt_mask.sum(1)
    shift = batch.prompt_ids.shape[1] - prompt_lengths  # (B,)
    ids = ids.gather(1, (torch.arange(width) + shift[:, None]).clamp(max=width - 1))
    hidden = model.hidden(ids[:, :-1])
    before = prompt_lengths[:, None] - 1 + torch.arange(length)  # the position that predicts each response token
    return hidden.gather(1, before[..., None].expand(-1, -1, hidden.shape[-1]))


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
    tokens, ids = hidden.flatten(0, 1), batch.response_ids.flatten()
    size = max(1, LOGITS_AT_ONCE // model.unembedding.shape[0])
    if len(ids) <= size:
        return _token_logp(tokens, model.unembedding, ids, temperature).view(batch.response_ids.shape)
    parts = [
        checkpoint(_token_logp, part, model.unembedding, wanted, temperature, use_reentrant=False)
        for part, wanted in zip(tokens.split(size), ids.split(size), strict=True)
    ]
    return torch.cat(parts).view(batch.response_ids.shape)


def _token_logp(hidden: Tensor, unembedding: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """hidden (N, hidden size), ids (N,) -> (N,)"""
    logits = F.linear(hidden, unembedding)
    if temperature != 1:
        logits = logits / temperature
    return -F.cross_entropy(logits, ids, reduction="none")
