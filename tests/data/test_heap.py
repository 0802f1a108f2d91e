import platform
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from napari_segtrain.data.heap import Reused, return_free_memory


def test_memory_is_taken_once_for_arrays_of_every_shape() -> None:
    memory = Reused()
    first = memory.array((4, 5, 6))
    assert first.shape == (4, 5, 6) and first.dtype == np.float32 and first.flags.c_contiguous
    assert np.shares_memory(memory.array((2, 60)), first)
    assert memory.array((0,)).size == 0
    assert np.shares_memory(memory.array((120,)), first), "a small array in between keeps the memory"


def test_a_larger_array_does_not_exist_beside_the_smaller_one() -> None:
    memory = Reused()
    tracemalloc.start()
    memory.array((100_000,))
    memory.array((150_000,))
    peak = tracemalloc.get_traced_memory()[1]
    memory.free()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 600_000 <= peak < 900_000
    assert left < 100_000


def test_giving_memory_back_changes_no_array() -> None:
    array = np.arange(100_000)
    return_free_memory()
    assert array.sum() == 4_999_950_000


STEPS = """
import resource
import torch
from napari_segtrain.data.heap import memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept() as alone:
    for _ in range(5):  # an aligned array fits into another's place with some room around it
        faults()
    kept = faults()
    with memory_kept() as alone_too:
        pass
    still_kept = faults()
print(int(alone), int(alone_too), kept, still_kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_memory_that_a_step_frees_is_there_for_the_next_one() -> None:
    """Counted are pages of 4 KiB, of arrays of 40 MB, in a process with a heap of its own."""
    command = [sys.executable, "-c", STEPS]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    alone, alone_too, kept, still_kept, afterwards = map(int, ran.stdout.split())
    assert (alone, alone_too) == (1, 0)
    assert kept < 1000
    assert still_kept < 1000, "it is kept until the outermost is left"
    assert afterwards > 5000, "afterwards it is given back"
