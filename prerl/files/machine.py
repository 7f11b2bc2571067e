"""The machine that a process runs on, by what a result may depend on. Imports no torch."""

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def hardware() -> dict[str, Any]:
    """machine (architecture), system, cpus (their number), processor (its name); in a process that has loaded torch
    also kernel, the instructions that torch's kernels use here (AVX2, AVX512, DEFAULT, ...), threads, and gpu, the
    name of the one that was used. Another processor, kernel or number of threads adds in another order, and so rounds
    otherwise."""
    found = {"machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()}
    found["processor"] = processor()
    if torch := sys.modules.get("torch"):
        found |= {"kernel": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
        if gpu_is_used():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def gpu_is_used() -> bool:
    """Whether this process has used a GPU, or vLLM has in a process that it started."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return False
    return torch.cuda.is_initialized() or "vllm" in sys.modules


@cache
def processor() -> str:
    """The name of the processor's model, e.g. "AMD EPYC 9554 64-Core Processor"; where the system gives none, what
    Python knows, at least the architecture."""
    name = ""
    try:
        if platform.system() == "Linux":
            lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
            name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "")
        elif platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pass
    return " ".join(name.split()) or platform.processor() or platform.machine()
