"""Run by test_trl_processes.py in two processes: a model in pieces (FSDP2) is trained, saved, and trained on.

Arguments: a model directory, a directory for whole/ (two updates) and resumed/ (the second after a checkpoint).
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from prerl.base.pretrain import tokenizer
from prerl.model.checkpoint import Checkpoints
from prerl.model.plain import load_pretrained as load


def make(path, split=True):
    model = load(path)
    for part in [*model.model.layers, model] if split else []:
        fully_shard(part, mesh=mesh)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def update(model, optimizer):
    ids = torch.randint(0, 60, (4, 12), generator=torch.Generator().manual_seed(0))
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def save(name, step, model, optimizer):
    Checkpoints(out / name, {}).save(step, model, tokenizer(), optimizer, [], writes=dist.get_rank() == 0)
    dist.barrier()


base, out = map(Path, sys.argv[1:])
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
model, optimizer = make(base)
update(model, optimizer)
save("resumed", 1, model, optimizer)
update(model, optimizer)
save("whole", 2, model, optimizer)

first = Checkpoints(out / "resumed", {})
model, optimizer = make(first.path(1))
first.resume_optimizer(1, model, optimizer)
update(model, optimizer)
save("resumed", 2, model, optimizer)

if dist.get_rank() == 0:
    model, optimizer = make(base, split=False)
    for _ in range(2):
        update(model, optimizer)
    model.save_pretrained(out / "alone")
dist.destroy_process_group()
