"""What a job computes on: the processor, its threads and the memory that it keeps; or a GPU."""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext

import torch

from prerl.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def computing_on(device: torch.device) -> AbstractContextManager:
    """Inside, new tensors lie on the device. On the CPU, where they do anyway, it costs nothing."""
    return nullcontext() if device.type == "cpu" else device


def occupy(threads: int, device: str = "cpu") -> None:
    """Sets the number of threads, and makes the C library keep the memory that tensors free; on another device than the
    CPU, new tensors and models lie there from now on. Raises UserError if there is no such device.

    Else every large tensor is new memory from the system, which clears it page by page: a fifth of the time of a
    gradient of 135M parameters. Where the library is another one, nothing happens but the first.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device: cuda, but torch finds no GPU here: set it to cpu, or see `nvidia-smi`")
    if device != "cpu":
        torch.set_default_device(device)
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
