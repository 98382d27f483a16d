"""Memory that tensors leave serves the next ones: the kernel need not give it again."""

import platform
import subprocess
import sys

import pytest

# Prints how many pages the kernel gave for a step of a small network, the median of several:
# before, after, and in a thread. Its maps take 49 MB; of more than 32 MB, glibc itself keeps
# nothing. In one step or another the heap still grows by a map, where what lies free is in pieces.
STEPS = """
import resource, statistics, torch
from concurrent.futures import ThreadPoolExecutor
from stages.network.allocation import keep_freed_memory
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Flatten())
images = torch.rand(24, 3, 128, 128)
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def pages():
    return statistics.median_low(step() for _ in range(9))
without = pages()
keep_freed_memory()
print(without, pages(), ThreadPoolExecutor(1).submit(pages).result())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_is_used_again():
    command = [sys.executable, "-c", STEPS]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    without, kept, in_a_thread = map(int, printed.split())
    assert without > 1000
    assert kept < without / 10
    assert in_a_thread < without / 10
