"""A method author's own functions: `advantage`, `transform` and `loss` of a phase may name one, as
`path.py:function` or `package.module:function`.

    def advantage(rewards, group):   # (B,) float32, (B,) int64, equal numbers for responses to one prompt
        return ...                   # (B,) float32: positive makes a response more likely, 0 leaves it alone

    def transform(batch):            # prerl.objective.Batch of the responses just scored, before their advantages
        return ...                   # the same with other rewards, other prompts, or fewer tokens in response_mask

    def loss(logp, old_logp, advantages, mask):   # (B, T), (B, T), (B, 1), (B, T): see prerl.losses
        return ...                   # (B, T): the loss of each token

Each asks for what it needs by the names of its parameters: any may have `step` and `steps`, number of the batch from 1
and of all, and the phase's settings that `prerl.settings.methods.SETTINGS` lists. What they return is checked at every
update, and what is wrong is said in one line.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prerl.errors import UserError
from prerl.objective import Batch
from prerl.settings.functions import asked, load_function, one_line


def custom_advantages(reference: str, rewards: Tensor, group: Tensor, **given: Any) -> Tensor:
    """rewards (B,), group (B,) -> (B,), from the function that `reference` names. Raises UserError if what it returns
    is not finite, of that shape and of the rewards' dtype."""
    found = _call(reference, {"rewards": rewards.clone(), "group": group.clone(), **given})
    _check(reference, "the advantages", found, rewards)
    return found.detach()


def custom_loss(reference: str, given: dict[str, Any]) -> Tensor:
    """(B, T) from the function that `reference` names, of what functions in `prerl.losses` may ask for. Raises
    UserError if what it returns is not finite where the mask is 1, of that shape, or has no gradient."""
    logp, mask = given["logp"], given["mask"]
    found = _call(reference, given)
    if isinstance(found, Tensor) and found.shape == mask.shape:
        found = torch.where(mask > 0, found, 0.0)  # what it makes of padding does not matter
    _check(reference, "the loss", found, logp)
    if logp.requires_grad and not found.requires_grad:
        raise UserError(f"{reference}: the loss: has no gradient: it must be made of logp, not of logp.detach()")
    return found


def custom_batch(reference: str, batch: Batch, **given: Any) -> Batch:
    """The batch as the function that `reference` names changes it. Raises UserError if it changes the responses, their
    number or their groups, or returns what is malformed.

    New prompts drop `sampler_logp`, which was conditional on the old ones.
    """
    own = {name: value.clone() for name, value in vars(batch).items() if value is not None}  # it may change them
    found = _call(reference, {"batch": replace(batch, **own), **given})
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
    return replace(found, sampler_logp=batch.sampler_logp if same else None)


def _call(reference: str, given: dict[str, Any]) -> Any:
    function = load_function(reference)
    try:
        return asked(function, given)
    except UserError as error:
        raise UserError(f"{reference}: {error}") from error
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
