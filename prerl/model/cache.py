"""Keys and values of prompts: as they are read for decoding, or with their graph for an update."""

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prerl.model.joint import uncut

if TYPE_CHECKING:
    from prerl.model.lean import LeanModel


class Cache:
    """Keys and values, (rows, kv_heads, length, head_dim) a layer, filled from the left: of prompts, for decoding."""

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
                tensors[layer] = old[index]

    def past(self, layer: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """The keys and values that the layer has so far."""
        if self.filled == 0:
            return None, None
        return self.keys[layer][:, :, : self.filled], self.values[layer][:, :, : self.filled]

    def keep(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Adds a layer's keys and values of more tokens, (rows, kv_heads, count, head_dim)."""
        end = self.filled + keys.shape[2]
        self.keys[layer][:, :, self.filled : end] = keys
        self.values[layer][:, :, self.filled : end] = values

    def advance(self, count: int) -> None:
        """After all layers were extended by `count` tokens."""
        self.filled += count


class Prompts:
    """Prompts that were read once, for all their responses: keys and values with their graph, one row a prompt.

    Unlike a Cache it is never written to, so gradients flow through it and it can be read after again and again.
    """

    def __init__(self, model: "LeanModel", ids: Tensor, mask: Tensor, cut: Callable[[Tensor], Tensor] = uncut) -> None:
        """ids, mask (B, P), padded on the left; `cut` as `LeanModel` has it, here of what is read again."""
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.filled, self.cut = 0, cut
        self.pad = ids.shape[1] - mask.sum(1) if bool((mask == 0).any()) else None
        self.last = cut(model.hidden(ids, self, self.pad)[:, -1:])  # (B, 1, hidden)

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

    def past(self, layer: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """A layer's keys and values (rows, kv_heads, P, head_dim); none while the prompts themselves are read."""
        return (self.keys[layer], self.values[layer]) if self.filled else (None, None)

    def keep(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keeps a layer's keys and values of the prompts; those of responses, which are read later, it does not."""
        if self.filled == 0:
            self.keys.append(self.cut(keys))
            self.values.append(self.cut(values))

    def advance(self, count: int) -> None:
        self.filled = self.filled or count
