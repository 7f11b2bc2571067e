"""Flat gradients of a model in two spaces: folded to what fits into memory, by groups of parameters, compared."""

import math
from collections import defaultdict
from itertools import combinations

import torch
from torch import Tensor, nn

from prerl.evaluation.partial import Rows
from prerl.seeds import seed_of

SPACES = ("post_train", "pre_train")

Gradients = dict[str, dict[str, Tensor]]  # by part of the response and space, flat


class Sketch:
    """Folds a long gradient to WIDTH numbers, with random signs: inner products keep their mean, and cosines of what is
    folded err by about 1 / sqrt(WIDTH), a thousandth. So the sums of many gradients of a large model fit into memory.
    A gradient of at most WIDTH numbers is left as it is.
    """

    WIDTH = 1 << 20

    def __init__(self, length: int) -> None:
        self.size = min(length, self.WIDTH)
        generator = torch.Generator().manual_seed(seed_of("alignment", "sketch"))
        long = length > self.WIDTH
        self.signs = torch.randint(0, 2, (length,), generator=generator, dtype=torch.int8) * 2 - 1 if long else None

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.signs is None:
            return gradient
        folded = torch.zeros(self.WIDTH)
        # A piece at a time stays in the cache.
        for piece, signs in zip(gradient.split(self.WIDTH), self.signs.split(self.WIDTH), strict=True):
            folded[: len(piece)] += piece * signs
        return folded


def parameter_groups(model: nn.Module) -> dict[str, list[slice]]:
    """Where in the flat gradient each group of parameters lies: slices of embedding, attention, mlp and norm."""
    places: dict[str, list[slice]] = defaultdict(list)
    start = 0
    for name, parameter in model.named_parameters():
        kinds = {"norm": "norm", "embed_tokens": "embedding", "lm_head": "embedding", "self_attn": "attention"}
        group = next((group for word, group in kinds.items() if word in name), "mlp")
        places[group].append(slice(start, start + parameter.numel()))
        start += parameter.numel()
    return dict(sorted(places.items()))


def compare(pair: dict[str, Tensor], groups: dict[str, list[slice]]) -> Rows:
    """Inner product, cosine (NaN if a gradient is zero) and norms of two gradients, whole and by parameter group."""
    first, second = pair["post_train"], pair["pre_train"]
    sums = {}  # a @ b, a @ a, b @ b: gradients of a large model are read once, in place
    for group, places in groups.items():
        products = [
            [float(x[s] @ y[s]) for x, y in ((first, second), (first, first), (second, second))] for s in places
        ]
        sums[group] = [sum(column) for column in zip(*products, strict=True)]
    whole = [sum(column) for column in zip(*sums.values(), strict=True)]
    rows = []
    for group, (product, *squares) in {"whole": whole, **sums}.items():
        norms = [math.sqrt(square) for square in squares]
        size = norms[0] * norms[1]
        row = {"group": group, "inner_product": product, "cosine": product / size if size else math.nan}
        rows.append(row | {"norm_post_train": norms[0], "norm_pre_train": norms[1]})
    return rows


def unrelated(own: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """Cosines of a rollout's gradients, by space, with the post-train one of another problem's rollout."""
    return {
        "across": float(cosine(own["pre_train"], other["post_train"])),
        "within": float(cosine(own["post_train"], other["post_train"])),
    }


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def halves(part: str, sums: Tensor) -> Rows:
    """All equal splits of the blocks. sums (blocks, spaces, parameters): sums of gradients, so directions of means."""
    rows, everything = [], sums.sum(0)
    for chosen in combinations(range(1, len(sums)), len(sums) // 2 - 1):
        first = sums[[0, *chosen]].sum(0)
        second = everything - first
        rows.append(
            {
                "part": part,
                "within_post_train": float(cosine(first[0], second[0])),
                "within_pre_train": float(cosine(first[1], second[1])),
                "across": float((cosine(first[0], first[1]) + cosine(second[0], second[1])) / 2),
                "across_halves": float((cosine(first[0], second[1]) + cosine(second[0], first[1])) / 2),
            }
        )
    return rows
