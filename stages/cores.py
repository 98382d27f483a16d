"""How many cores there are to work on."""

import os


def cores() -> int:
    """The cores this process may use, 1 or more; where the system cannot say, all it has."""
    if hasattr(os, "sched_getaffinity"):  # macOS has no such thing
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
