"""Memory that tensors leave is kept for the next ones instead of going back to the kernel.

A step of training on a CPU takes and leaves hundreds of megabytes. The C library asks the kernel
for large pieces each time, which fills them with zeros, page by page: half of the time that
MobileNetV2 takes for a step at 224 pixels.
"""

import ctypes

# Of glibc's <malloc.h>; see mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Lets this process keep what it frees, at most what it ever held, until ``malloc_trim``.

    So do threads that are started later. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)  # large pieces come from the heap …
        mallopt(M_TRIM_THRESHOLD, -1)  # … whose free end stays …
        mallopt(M_ARENA_MAX, 1)  # … and not from heaps of threads, which go once they are empty
