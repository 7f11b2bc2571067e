"""AdamW by torch's fused kernel, without torch.optim: whose `step` imports torch's compiler, a second of every run."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class AdamW:
    """What `torch.optim.AdamW(..., fused=True)` computes, to the bit, with the same `param_groups` and `state`."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        group = {"params": list(parameters), "lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        self.param_groups: list[dict[str, Any]] = [group]
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in moved:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            if not moved:
                continue
            names = ("exp_avg", "exp_avg_sq", "step")
            means, squares, steps = ([self.state[parameter][name] for parameter in moved] for name in names)
            torch.ops.aten._foreach_add_.Scalar(steps, 1)
            torch.ops.aten._fused_adamw_.default(
                moved,
                [parameter.grad for parameter in moved],
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
