"""How a job uses the processor: its threads, and memory that it keeps."""

import ctypes
import platform

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def occupy(threads: int) -> None:
    """Sets the number of threads, and makes the C library keep the memory that tensors free.

    Else every large tensor is new memory from the system, which clears it page by page: a fifth of the time of a
    gradient of 135M parameters. Where the library is another one, nothing happens but the first.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
