"""Cuts in the graph of a computation, where the gradients of several passes meet."""

import torch
from torch import Tensor


class Joint:
    """Where a graph is cut, so that many passes go back only as far as the cut: what they leave there is added up, and
    `back` sends it on once."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def __call__(self, value: Tensor) -> Tensor:
        """The value as a leaf that gathers its gradient."""
        if not value.requires_grad:
            return value
        leaf = value.detach().requires_grad_()
        self.pairs.append((value, leaf))
        return leaf

    def back(self) -> None:
        # The gradient of value * gradient is the gradient. To `backward` with gradients torch would import sympy.
        reached = [(value * leaf.grad).sum() for value, leaf in self.pairs if leaf.grad is not None]
        if reached:
            torch.stack(reached).sum().backward()


def uncut(value: Tensor) -> Tensor:
    """Leaves the graph whole."""
    return value
