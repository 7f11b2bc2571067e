"""A method author's own functions: `advantage` and `transform` of a phase may name one, as `path.py:function` or
`package.module:function`.

    def advantage(rewards, group):   # (B,) float32, (B,) int64, equal numbers for responses to one prompt
        return ...                   # (B,) float32: positive makes a response more likely, 0 leaves it alone

    def transform(batch):            # prerl.objective.Batch of the responses just scored, before their advantages
        return ...                   # the same with other rewards, other prompts, or fewer tokens in response_mask

What they return is checked at every update, and what is wrong is said in one line.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prerl.errors import UserError
from prerl.objective import Batch
from prerl.settings.functions import load_function, one_line


def custom_advantages(reference: str, rewards: Tensor, group: Tensor) -> Tensor:
    """rewards (B,), group (B,) -> (B,), from the function that `reference` names. Raises UserError if what it returns
    is not finite, of that shape and of the rewards' dtype."""
    found = _call(reference, rewards.clone(), group.clone())
    _check(reference, "the advantages", found, rewards)
    return found.detach()


def custom_batch(reference: str, batch: Batch) -> Batch:
    """The batch as the function that `reference` names changes it. Raises UserError if it changes the responses, their
    number or their groups, or returns what is malformed.

    New prompts drop `old_logp`, which was conditional on the old ones.
    """
    own = {name: value.clone() for name, value in vars(batch).items() if value is not None}  # it may change them
    found = _call(reference, replace(batch, **own))
    if not isinstance(found, Batch):
        raise UserError(f"{reference}: returned {type(found).__name__}, expected a prerl.objective.Batch")
    _check(reference, "rewards", found.rewards, batch.rewards)
    _check(reference, "response_mask", found.response_mask, batch.response_mask)
    for name in ("response_ids", "group"):
        if not torch.equal(getattr(found, name), getattr(batch, name)):
            raise UserError(f"{reference}: changed {name}, which must stay: the responses are what was sampled")
    if not (
        ((found.response_mask == 0) | (found.response_mask == 1)) & (found.response_mask <= batch.response_mask)
    ).all():
        raise UserError(f"{reference}: response_mask must be 0 or 1, and 0 at padding")
    prompts = batch.group[:, None].expand(-1, found.prompt_ids.shape[-1])  # of any length
    _check(reference, "prompt_ids", found.prompt_ids, prompts)
    _check(reference, "prompt_mask", found.prompt_mask, prompts)
    if not (found.prompt_mask.sum(1) > 0).all() or (found.prompt_mask.diff(dim=1) < 0).any():
        raise UserError(f"{reference}: prompt_mask must be 1 on at least one token, with padding on the left alone")
    same = torch.equal(found.prompt_ids, batch.prompt_ids) and torch.equal(found.prompt_mask, batch.prompt_mask)
    return replace(found, old_logp=batch.old_logp if same else None)


def _call(reference: str, *arguments: Any) -> Any:
    try:
        return load_function(reference)(*arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{reference}: raised {one_line(error, reference.partition(':')[0])}") from error


def _check(reference: str, what: str, found: Any, given: Tensor) -> None:
    """Raises UserError unless `found` is a finite tensor of the shape and kind of `given`."""
    if not isinstance(found, Tensor):
        raise UserError(f"{reference}: {what}: returned {type(found).__name__}, expected a tensor")
    if found.shape != given.shape:
        raise UserError(f"{reference}: {what}: shape {tuple(found.shape)}, expected {tuple(given.shape)}")
    if found.dtype != given.dtype:
        kind, wanted = (str(tensor.dtype).removeprefix("torch.") for tensor in (found, given))
        raise UserError(f"{reference}: {what}: dtype {kind}, expected {wanted}")
    if found.is_floating_point() and not found.isfinite().all():
        count = int((~found.isfinite()).sum())
        raise UserError(f"{reference}: {what}: {count} of {found.numel()} values are NaN or infinite")
