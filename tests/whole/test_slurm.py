"""The SLURM profile on a real SLURM, where there is one: training is preempted, killed, and finishes. Takes minutes."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import ROOT


def missing() -> str | None:
    """What `.ci/slurm` needs and this machine lacks."""
    for program in ("slurmctld", "slurmd", "munged", "unshare", "ip"):
        if not shutil.which(program):
            return program
    if not find_spec("snakemake_executor_plugin_slurm"):
        return "snakemake-executor-plugin-slurm"
    namespaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "true"]
    if os.getuid() != 0 or subprocess.run(namespaces, capture_output=True).returncode != 0:
        return "right to make namespaces, which root has outside containers"
    return None


LACKS = missing()


@pytest.mark.skipif(LACKS is not None, reason=f"no {LACKS}")
def test_training_survives_preemption_and_a_kill():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [ROOT / ".ci/slurm", "results/smoke/grpo/seed0/run.json"]
    result = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "preempted, killed, and finished" in result.stdout
