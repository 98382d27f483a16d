"""What this machine has to run experiments on, several at a time: GPUs and cores."""

import os
import subprocess

from stages.cores import cores

THREADS = "OMP_NUM_THREADS"  # PyTorch's, in each process


def slots(jobs: int | None) -> list[dict[str, str]]:
    """What each of ``jobs`` experiments at a time has in its environment: its GPU, its cores."""
    gpus = devices()
    count = jobs or len(gpus) or 1
    variables = [
        {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(count)
    ]
    if count > 1 and THREADS not in os.environ:
        # Trainings whose threads outnumber the cores wait for each other, several times as long.
        share = max(1, cores() // count)
        variables = [slot | {THREADS: str(share)} for slot in variables]
    return variables


def devices() -> list[str]:
    """The GPUs that may be used, in the words of CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for each in visible.split(",") if (name := each.strip()) not in ("", "-1")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:  # no such program, no such GPU
        return []
    count = sum(line.startswith("GPU ") for line in done.stdout.splitlines())
    return [str(number) for number in range(count)]
