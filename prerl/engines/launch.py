"""Several processes for one training run."""

import os
import sys
from pathlib import Path

from prerl.errors import UserError
from prerl.settings.engine import TrlEngine


def launch(engine: TrlEngine, scale: Path) -> None:
    """Replaces this process by a launcher that starts the same command once a process; returns in each of those.

    GPUs are left to `accelerate launch` with the engine's configuration; processes on CPU need only to find each other.
    Raises UserError if the configuration is missing.
    """
    if "RANK" in os.environ or engine.processes == 1:
        return
    if engine.launch is None:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={engine.processes}"]
    else:
        settings = scale.parent / engine.launch
        if not settings.is_file():
            raise UserError(f"{scale}: engine.launch: no file {settings}")
        launcher = ["accelerate.commands.launch", f"--config_file={settings}", f"--num_processes={engine.processes}"]
    os.execv(sys.executable, [sys.executable, "-m", *launcher, "-m", "prerl.cli", *sys.argv[1:]])
