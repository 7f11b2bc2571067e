"""Keys and values of rows that are being decoded: a table that grows, behind a copy of its prompt a row, or behind
prompts that rows share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prerl.model.cache import Cache

GROWTH = 16  # tokens for which a table gets more room at a time


class Table:
    """Keys and values of rows that grow by a token a step, for one query a row and head.

    A product of one row and a matrix, for thousands of rows and heads, is what torch's batched products are slow at. An
    embedding bag, a weighted sum of rows of a table, is the same thing, and several times as fast: the scores are the
    keys' columns weighted by the query, (head_dim, width) a row and head, and the result is the values weighted by the
    softmax, (width, head_dim). Columns that are not filled yet have a score of minus infinity.
    """

    def __init__(self, layers: int, rows: int, kv_heads: int, queries: int, head_dim: int, most: int) -> None:
        """most: tokens that a row may ever have; queries: heads that share a key-value head"""
        self.kv_heads, self.queries, self.head_dim, self.most = kv_heads, queries, head_dim, most
        self.width, self.filled = 0, 0
        self.keys = [torch.empty(rows, kv_heads, head_dim, 0) for _ in range(layers)]
        self.values = [torch.empty(rows, kv_heads, 0, head_dim) for _ in range(layers)]
        self.hidden = torch.empty(rows, 0)

    def fill(self, prompts: Cache, each: Tensor, pad: Tensor | None) -> None:
        """Puts those of each row's prompt in front; `pad` (rows,) columns of them are padding."""
        self.filled = prompts.filled
        self._widen(len(each))
        for layer, (keys, values) in enumerate(zip(prompts.keys, prompts.values, strict=True)):
            self.keys[layer][..., : self.filled] = keys[each].transpose(-1, -2)
            self.values[layer][:, :, : self.filled] = values[each]
        self.hidden[:, : self.filled] = 0
        if pad is not None:
            self.hidden.masked_fill_(torch.arange(self.width) < pad[:, None], -torch.inf)
        self._place()

    def _widen(self, rows: int) -> None:
        """Makes room for GROWTH more tokens, or the most that there can be."""
        old, self.width = self.width, min(self.filled + GROWTH, self.most)
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            wider = keys.new_empty(rows, self.kv_heads, self.head_dim, self.width)
            wider[..., :old], wider[..., old:] = keys, 0
            longer = values.new_empty(rows, self.kv_heads, self.width, self.head_dim)
            longer[:, :, :old], longer[:, :, old:] = values, 0
            self.keys[layer], self.values[layer] = wider, longer
        self.hidden = F.pad(self.hidden, (0, self.width - old), value=-torch.inf)

    def _place(self) -> None:
        """The bags: for each row, key-value head and query the rows of the tables that are summed up."""
        rows = len(self.hidden)
        heads = torch.arange(rows * self.kv_heads).repeat_interleave(self.queries)[:, None]
        self.columns = (heads * self.head_dim + torch.arange(self.head_dim)).flatten()
        self.places = (heads * self.width + torch.arange(self.width)).flatten()
        self.column_bags = torch.arange(0, len(self.columns) + 1, self.head_dim)
        self.place_bags = torch.arange(0, len(self.places) + 1, max(self.width, 1))

    def take(self, index: Tensor) -> None:
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                tensors[layer] = old[index]
        self.hidden = self.hidden[index]
        self._place()

    def advance(self) -> None:
        self.filled += 1

    def scores(self, layer: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """q (rows, heads, head_dim), already scaled; keys and values (rows, kv_heads, head_dim) of one more token,
        which stay here. Returns (rows, heads, width)."""
        if self.filled == self.width:
            self._widen(len(q))
            self._place()
        if layer == 0:
            self.hidden[:, self.filled] = 0
        self.keys[layer][..., self.filled] = keys
        self.values[layer][:, :, self.filled] = values
        table = self.keys[layer].view(-1, self.width)
        found = _bags(self.columns, table, self.column_bags, q).view(len(q), -1, self.width)
        return found.add_(self.hidden[:, None])

    def mixed(self, layer: int, weights: Tensor) -> Tensor:
        """The values weighted by (rows, heads, width): (rows, heads, head_dim)"""
        table = self.values[layer].view(-1, self.head_dim)
        return _bags(self.places, table, self.place_bags, weights).view(*weights.shape[:2], -1)


def _bags(rows: Tensor, table: Tensor, bags: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(
        rows, table, bags, mode="sum", per_sample_weights=weights.flatten(), include_last_offset=True
    )


class RowCache:
    """Keys and values of rows that go on from prompts, a copy of its prompt's in each row."""

    def __init__(self, prompts: Cache, pad: Tensor | None, each: Tensor, length: int, queries: int) -> None:
        """
        prompts  what was read, one row a prompt
        pad      (prompts,) number of padding tokens on the left of each prompt, or None if there are none
        each     (rows,) which prompt each row goes on from, in ascending order
        length   most tokens that a row may add
        queries  heads that share a key-value head
        """
        _, kv_heads, width, head_dim = prompts.keys[0].shape
        self.pad = pad[each] if pad is not None else None
        self.table = Table(len(prompts.keys), len(each), kv_heads, queries, head_dim, width + length)
        self.table.fill(prompts, each, self.pad)

    @property
    def start(self) -> int:
        """The position of the token that is read next, were there no padding."""
        return self.table.filled

    def take(self, index: Tensor) -> None:
        """Keeps the given rows."""
        self.table.take(index)
        self.pad = self.pad[index] if self.pad is not None else None

    def advance(self) -> None:
        """After all layers have attended to one more token."""
        self.table.advance()

    def attend(self, layer: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """q (rows, heads, head_dim), already scaled; keys and values (rows, kv_heads, head_dim) of one more token.
        Returns what q attends to, in the shape of q."""
        return self.table.mixed(layer, self.table.scores(layer, q, keys, values).softmax(-1))


class SharedCache:
    """Keys and values of rows that go on from prompts which several of them share.

    Those of a prompt lie in memory once, and a decoding step reads them once for all its rows: with long prompts that
    is most of the step's memory traffic. The two parts of the attention, to the prompt and to what a row has generated,
    are joined by their softmax's sums.
    """

    def __init__(self, prompts: Cache, pad: Tensor | None, each: Tensor, length: int, queries: int) -> None:
        """
        prompts  what was read, one row a prompt; it is kept, and shrinks with the rows
        pad      (prompts,) number of padding tokens on the left of each prompt, or None if there are none
        each     (rows,) which prompt each row goes on from, in ascending order
        length   most tokens that a row may add
        queries  heads that share a key-value head
        """
        _, self.kv_heads, _, head_dim = prompts.keys[0].shape
        self.prompts, self.prompt_pad = prompts, pad
        self.table = Table(len(prompts.keys), len(each), self.kv_heads, queries, head_dim, length)
        self._place(each)

    @property
    def start(self) -> int:
        return self.prompts.filled + self.table.filled

    def take(self, index: Tensor) -> None:
        """Keeps the given rows, in their order, and the prompts that they go on from."""
        self.table.take(index)
        used, each = self.each[index].unique(return_inverse=True)
        if len(used) < len(self.prompts.keys[0]):
            self.prompts.take(used)
            self.prompt_pad = self.prompt_pad[used] if self.prompt_pad is not None else None
        self._place(each)

    def advance(self) -> None:
        self.table.advance()

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
        """q (rows, heads, head_dim), already scaled; keys and values (rows, kv_heads, head_dim) of one more token.
        Returns what q attends to, in the shape of q."""
        prompts, (_, heads, head_dim) = len(self.prompts.keys[0]), q.shape
        # Rows that share a prompt are laid out as positions of one sequence; the places of ended rows stay empty.
        joint = q.new_zeros(prompts, self.most, self.kv_heads, heads // self.kv_heads, head_dim)
        joint[self.each, self.place] = q.view(len(q), *joint.shape[2:])
        joint = joint.transpose(1, 2).reshape(prompts, self.kv_heads, -1, head_dim)
        old_keys, old_values = self.prompts.past(layer)
        assert old_keys is not None and old_values is not None  # a prompt has a token
        before = joint @ old_keys.transpose(-1, -2)
        if self.padding is not None:
            before = before.masked_fill(self.padding, -torch.inf)
        weights, first_sum = _softmax(before)
        shape = prompts, self.kv_heads, self.most, heads // self.kv_heads, -1
        first, first_sum = (
            x.view(shape).transpose(1, 2)[self.each, self.place].flatten(1, 2)
            for x in (weights @ old_values, first_sum)
        )
        weights, second_sum = _softmax(self.table.scores(layer, q, keys, values))
        second = self.table.mixed(layer, weights)
        return torch.lerp(second, first, (first_sum - second_sum).sigmoid())


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax, and the logarithm of its sum."""
    total = scores.logsumexp(-1, keepdim=True)
    return (scores - total).exp_(), total
