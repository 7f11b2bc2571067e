"""Flat gradients of a model in two spaces: folded to what fits into memory, by groups of parameters, compared."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from prerl.evaluation.partial import Rows
from prerl.seeds import seed_of

SPACES = ("post_train", "pre_train")

OTHER_PROMPT = "other_prompt"  # the post-train space behind the prompt of another problem

Gradients = dict[str, dict[str, Tensor]]  # by part of the response and space, flat


@contextmanager
def gathered(model: nn.Module) -> Iterator[Tensor]:
    """A flat gradient by all parameters, which the backward passes inside add to. Each part is added at its place, for
    a large model has no memory for a copy."""
    parameters = list(model.parameters())
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.zeros(sum(sizes))
    for parameter, place in zip(parameters, flat.split(sizes), strict=True):
        parameter.grad = place.view_as(parameter)
    yield flat
    model.zero_grad(set_to_none=True)


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
        signs = torch.randint(0, 2, (length if long else 0,), generator=generator, dtype=torch.int8, device="cpu")
        self.signs = signs.to(torch.get_default_device()) * 2 - 1 if long else None

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


def compare(gradients: dict[str, Tensor], groups: dict[str, list[slice]]) -> Rows:
    """Inner product, cosine and norms of a response's gradients in both spaces, whole and by parameter group; and as
    `other_prompt` the cosine of the post-train one with that behind another problem's prompt. A cosine is NaN if a
    gradient is zero, or the other prompt's is missing."""
    first, second, other = gradients["post_train"], gradients["pre_train"], gradients.get(OTHER_PROMPT)
    pairs = [(first, second), (first, first), (second, second)]
    pairs += [] if other is None else [(first, other), (other, other)]
    sums = {}  # of products: gradients of a large model are read in place
    for group, places in groups.items():
        products = [[float(x[s] @ y[s]) for x, y in pairs] for s in places]
        sums[group] = [sum(column) for column in zip(*products, strict=True)]
    whole = [sum(column) for column in zip(*sums.values(), strict=True)]
    rows = []
    for group, (product, *squares) in {"whole": whole, **sums}.items():
        norms = [math.sqrt(square) for square in squares[:2]]
        row = {"group": group, "inner_product": product, "cosine": _quotient(product, norms[0] * norms[1])}
        null = math.nan if other is None else _quotient(squares[2], norms[0] * math.sqrt(squares[3]))
        rows.append(row | {OTHER_PROMPT: null, "norm_post_train": norms[0], "norm_pre_train": norms[1]})
    return rows


def _quotient(product: float, size: float) -> float:
    return product / size if size else math.nan


def unrelated(own: dict[str, Tensor], other: Tensor) -> dict[str, float]:
    """Cosines of a rollout's gradients, by space, with the post-train one of another problem's rollout."""
    return {"across": float(cosine(own["pre_train"], other)), "within": float(cosine(own["post_train"], other))}


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
