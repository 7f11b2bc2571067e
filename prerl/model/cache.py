"""Keys and values of tokens that were read already: of a growing batch, of prompts that rows share, of both."""

from copy import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from prerl.model.lean import LeanModel


class Cache:
    """Keys and values, (rows, kv_heads, length, head_dim) a layer, filled from the left."""

    def __init__(self, layers: int, rows: int, kv_heads: int, length: int, head_dim: int) -> None:
        self.keys = [torch.empty(rows, kv_heads, length, head_dim) for _ in range(layers)]
        self.values = [torch.empty_like(keys) for keys in self.keys]
        self.filled = 0

    @property
    def start(self) -> int:
        """The position of the token that is read next, were there no padding."""
        return self.filled

    def take(self, index: Tensor) -> None:
        """Keeps the given rows (repeats allowed), layer by layer: a large model has no memory for two caches."""
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                tensors[layer] = old.new_empty(len(index), *old.shape[1:])
                tensors[layer][:, :, : self.filled] = old[index, :, : self.filled]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of the layer, with those of more tokens, which stay in the cache."""
        end = self.filled + keys.shape[2]
        self.keys[layer][:, :, self.filled : end] = keys
        self.values[layer][:, :, self.filled : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self, count: int) -> None:
        """After all layers were extended by `count` tokens."""
        self.filled += count


class RowCache(Cache):
    """Keys and values of rows that go on from prompts, a copy of its prompt's in each row."""

    def __init__(self, prompts: Cache, pad: Tensor | None, each: Tensor, length: int) -> None:
        """
        prompts  what was read, one row a prompt
        pad      (prompts,) number of padding tokens on the left of each prompt, or None if there are none
        each     (rows,) which prompt each row goes on from, in ascending order
        length   most tokens that a row may add
        """
        _, kv_heads, width, head_dim = prompts.keys[0].shape
        super().__init__(len(prompts.keys), len(each), kv_heads, width + length, head_dim)
        for own, read in ((self.keys, prompts.keys), (self.values, prompts.values)):
            for layer, there in zip(own, read, strict=True):
                layer[:, :, :width] = there[each]
        self.filled = width
        self.pad = pad[each] if pad is not None else None
        self._hide()

    def take(self, index: Tensor) -> None:
        super().take(index)
        self.pad = self.pad[index] if self.pad is not None else None
        self._hide()

    def _hide(self) -> None:
        """The mask (rows, 1, 1, length) that hides the padding."""
        self.visible = None
        if self.pad is not None:
            self.visible = (torch.arange(self.keys[0].shape[2]) >= self.pad[:, None])[:, None, None]

    def attend(self, layer: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """q (rows, kv_heads, queries, head_dim), already scaled; keys and values (rows, kv_heads, 1, head_dim) of one
        more token. The queries that share a key-value head count as if they were several positions of one head: no copy
        of the keys for each, which would be most of a step's memory traffic."""
        keys, values = self.extend(layer, keys, values)
        visible = self.visible[..., : keys.shape[2]] if self.visible is not None else None
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=visible, scale=1.0)


class SharedCache(Cache):
    """Keys and values of rows that go on from prompts which several of them share.

    Those of a prompt lie in memory once, and a decoding step reads them once for all its rows: with long prompts that
    is most of the step's memory traffic. The two parts of the attention, to the prompt and to what a row has generated,
    are joined by their softmax's sums.
    """

    def __init__(self, prompts: Cache, pad: Tensor | None, each: Tensor, length: int) -> None:
        """
        prompts  what was read, one row a prompt; it is kept, and shrinks with the rows
        pad      (prompts,) number of padding tokens on the left of each prompt, or None if there are none
        each     (rows,) which prompt each row goes on from, in ascending order
        length   most tokens that a row may add
        """
        kv_heads, head_dim = prompts.keys[0].shape[1], prompts.keys[0].shape[3]
        super().__init__(len(prompts.keys), len(each), kv_heads, length, head_dim)
        self.prompts, self.prompt_pad = prompts, pad
        self._place(each)

    @property
    def start(self) -> int:
        return self.prompts.filled + self.filled

    def take(self, index: Tensor) -> None:
        """Keeps the given rows, in their order, and the prompts that they go on from."""
        super().take(index)
        used, each = self.each[index].unique(return_inverse=True)
        if len(used) < len(self.prompts.keys[0]):
            self.prompts.take(used)
            self.prompt_pad = self.prompt_pad[used] if self.prompt_pad is not None else None
        self._place(each)

    def _place(self, each: Tensor) -> None:
        """Gives each row its place among those of its prompt."""
        counts = each.bincount()
        self.each, self.most = each, int(counts.max())
        self.place = torch.arange(len(each)) - (counts.cumsum(0) - counts)[each]
        self.pad = self.prompt_pad[each] if self.prompt_pad is not None else None
        self.padding = None
        if self.prompt_pad is not None:
            self.padding = (torch.arange(self.prompts.filled) < self.prompt_pad[:, None])[:, None, None]

    def attend(self, layer: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of one more token a row to its prompt and to all that the row has generated: q (rows, kv_heads,
        queries, head_dim), already scaled; keys and values (rows, kv_heads, 1, head_dim) of that token, which stay in
        the cache. Returns what q attends to, in the shape of q."""
        keys, values = self.extend(layer, keys, values)
        prompts, (_, kv_heads, queries, head_dim) = len(self.prompts.keys[0]), q.shape
        # Rows that share a prompt are laid out as positions of one sequence; the places of ended rows stay empty.
        joint = q.new_zeros(prompts, self.most, kv_heads, queries, head_dim)
        joint[self.each, self.place] = q
        joint = joint.transpose(1, 2).reshape(prompts, kv_heads, -1, head_dim)
        width = self.prompts.filled
        before = joint @ self.prompts.keys[layer][:, :, :width].transpose(-1, -2)
        if self.padding is not None:
            before = before.masked_fill(self.padding, -torch.inf)
        first, first_sum = _weigh(before, self.prompts.values[layer][:, :, :width])
        shape = prompts, kv_heads, self.most, queries, -1
        first, first_sum = (x.view(shape).transpose(1, 2)[self.each, self.place] for x in (first, first_sum))
        second, second_sum = _weigh(q @ keys.transpose(-1, -2), values)
        return torch.lerp(second, first, (first_sum - second_sum).sigmoid())


def _weigh(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Values weighed by the softmax of their scores, and the logarithm of its sum."""
    total = scores.logsumexp(-1, keepdim=True)
    return (scores - total).exp_() @ values, total


class Prompts:
    """Prompts that were read once, for all their responses: keys and values with their graph, one row a prompt.

    Unlike a Cache it is never written to, so gradients flow through it and it can be read after again and again.
    """

    def __init__(self, model: "LeanModel", ids: Tensor, mask: Tensor) -> None:
        """ids, mask (B, P), padded on the left"""
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.filled = 0
        self.pad = ids.shape[1] - mask.sum(1) if bool((mask == 0).any()) else None
        self.last = model.hidden(ids, self, self.pad)[:, -1:]  # (B, 1, hidden)

    @property
    def start(self) -> int:
        return self.filled

    def take(self, index: Tensor) -> "Prompts":
        """The prompts of the given rows, repeats allowed, as new Prompts; gradients flow through."""
        taken = copy(self)
        taken.keys = [layer[index] for layer in self.keys]
        taken.values = [layer[index] for layer in self.values]
        taken.pad = self.pad[index] if self.pad is not None else None
        taken.last = self.last[index]
        return taken

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values, (rows, kv_heads, length, head_dim) each: at first those given, of the prompts,
        which are kept; later the prompts' with those given behind them, of responses, which are not kept."""
        if self.filled == 0:
            self.keys.append(keys)
            self.values.append(values)
            return keys, values
        return torch.cat([self.keys[layer], keys], 2), torch.cat([self.values[layer], values], 2)

    def advance(self, count: int) -> None:
        self.filled = self.filled or count
