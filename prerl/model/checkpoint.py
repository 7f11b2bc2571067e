"""Checkpoints: model, optimiser and log, from which a killed run goes on as if nothing had happened."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prerl.files.atomic import read_json, write, write_json, write_table
from prerl.files.checksums import SEAL, broken, seal
from prerl.model.adamw import AdamW

if TYPE_CHECKING:
    from prerl.model.plain import Model
    from prerl.model.tokens import Tokenizer

TRAINING_FILES = ("critic.safetensors", "optimizer.safetensors", "state.json", "table.parquet", SEAL)
DROPPED = ("model.safetensors", "optimizer.safetensors")  # of older checkpoints


Optimizer = torch.optim.Optimizer | AdamW


class Checkpoints:
    """The checkpoints of one run: a directory `step-00040` each, a complete model directory plus `state.json`.

    The newest two keep their optimiser: should one be damaged, the other is there. The data position and the random
    state are the step itself, see `prerl.seeds`. A checkpoint of another configuration, or of another version
    of torch, is not resumed from.
    """

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root, self.config = root, {**config, "torch": version("torch")}

    def path(self, step: int) -> Path:
        return self.root / f"step-{step:05d}"

    def save(
        self,
        step: int,
        model: "Model",
        tokenizer: "Tokenizer",
        optimizer: Optimizer,
        log: list[dict[str, Any]],
        table: pd.DataFrame | None = None,
        critic: nn.Module | None = None,
        writes: bool = True,
    ) -> None:
        """Saves the state after update `step`, with a table of what was measured there.

        Processes that share a model in pieces all call this, and one of them `writes`.
        """

        weights = _whole(dict(model.state_dict()), writes) if _sharded(model) else None
        if weights and model.config.tie_word_embeddings:
            weights.pop("lm_head.weight")
        state = _whole(_optimizer_tensors(_named(model, critic), optimizer), writes)
        if not writes:
            return

        def produce(path: Path) -> None:
            model.save_pretrained(path, state_dict=weights, max_shard_size="1TB")  # one file
            tokenizer.save_pretrained(path)
            if critic is not None:
                save_file(critic.state_dict(), path / "critic.safetensors")
            save_file(state, path / "optimizer.safetensors")
            write_json(path / "state.json", {"step": step, "config": self.config, "log": log})
            if table is not None:
                write_table(path / "table.parquet", table)
            seal(path)

        write(self.path(step), produce)
        for older in self._resumable()[2:]:
            (older / "optimizer.safetensors").unlink()

    def resume(
        self, model: "Model", optimizer: Optimizer | None = None, critic: nn.Module | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        """Restores the newest checkpoint of this configuration; without optimiser, that is left to `resume_optimizer`.
        Returns its step and log; (0, []) if there is none. One that is damaged is not used, nor are any after it."""
        whole = []
        for path in sorted(self.root.glob("step-*")):
            if broken(path, DROPPED):
                break
            whole.append(path)
        for path in self._resumable():
            if path not in whole:
                shutil.rmtree(path, ignore_errors=True)  # of several processes, all do
                continue
            state = read_json(path / "state.json")
            if state["config"] == self.config:
                weights = load_file(path / "model.safetensors")
                model.load_state_dict(weights, strict=False)
                if critic is not None:
                    critic.load_state_dict(load_file(path / "critic.safetensors"))
                if optimizer is not None:
                    self.resume_optimizer(state["step"], model, optimizer, critic)
                return state["step"], state["log"]
        self.clear()
        return 0, []

    def resume_optimizer(
        self, step: int, model: "Model", optimizer: Optimizer, critic: nn.Module | None = None
    ) -> None:
        """Restores the optimiser of a checkpoint, after the model was perhaps split among processes."""
        _restore_optimizer(_named(model, critic), optimizer, load_file(self.path(step) / "optimizer.safetensors"))

    def _resumable(self) -> list[Path]:
        """The checkpoints that have their optimiser, the newest first."""
        return sorted((path.parent for path in self.root.glob("step-*/optimizer.safetensors")), reverse=True)

    def tables(self) -> pd.DataFrame:
        """The tables of all checkpoints, in the order of their steps."""
        paths = sorted(self.root.glob("step-*/table.parquet"))
        return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)

    def export(self, step: int, path: Path) -> None:
        """Copies the model directory of a checkpoint, without the state of its training."""
        shutil.copytree(self.path(step), path, ignore=shutil.ignore_patterns(*TRAINING_FILES))

    def prune(self, kept: set[int]) -> None:
        """Drops all models but those that a run may go on from and those after the given updates; every table stays."""
        needed = {max(self.root.glob("step-*")), *self._resumable(), *(self.path(step) for step in kept)}
        for path in self.root.glob("step-*/model.safetensors"):
            if path.parent not in needed:
                path.unlink()

    def finish(self, kept: set[int]) -> None:
        """Drops what only a resumed run needs; the newest model and those after the given updates stay. A forced rerun
        then starts from the beginning."""
        for path in self.root.glob("step-*/optimizer.safetensors"):
            path.unlink()
        self.prune(kept)

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def _named(model: "Model", critic: nn.Module | None) -> dict[str, nn.Parameter]:
    """All trained parameters by name."""
    values = {f"critic.{name}": p for name, p in critic.named_parameters()} if critic is not None else {}
    return {**dict(model.named_parameters()), **values}


def _optimizer_tensors(parameters: dict[str, nn.Parameter], optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors, `<parameter>|<state>`."""
    state = optimizer.state
    named = {f"{name}|{key}": value for name, p in parameters.items() for key, value in state.get(p, {}).items()}
    return {name: value.contiguous() for name, value in named.items()}


def _restore_optimizer(parameters: dict[str, nn.Parameter], optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        parameter, key = name.split("|")
        weight: Any = parameters[parameter]
        if _in_pieces(weight) and value.dim():
            from torch.distributed.tensor import distribute_tensor  # seconds, and few models are split

            value = distribute_tensor(value, weight.device_mesh, weight.placements)
        optimizer.state[weight][key] = value.to(weight.device)


def _in_pieces(tensor: Tensor) -> bool:
    """Whether it is a DTensor, whose module takes long to import."""
    return hasattr(tensor, "full_tensor")


def _sharded(model: nn.Module) -> bool:
    return any(_in_pieces(parameter) for parameter in model.parameters())


def _whole(tensors: dict[str, Tensor], kept: bool) -> dict[str, Tensor]:
    """The tensors put together from all processes' pieces, on the CPU. All have to take part; few have the memory, so
    the others get nothing.

    Not by torch.distributed.checkpoint.state_dict: of an optimiser without state, as at the first checkpoint, it makes
    a step to have one, which then counts in the corrections of Adam's means."""
    found = {}
    for name, tensor in tensors.items():
        whole: Any = tensor.full_tensor() if _in_pieces(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]
        if kept:
            found[name] = whole.cpu()
    return found
