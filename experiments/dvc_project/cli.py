"""DVC's command line, for use beside another DVC that fills the same cache.

DVC looks for what a stage made before in the folder where another one is just recording the same:
it takes the half-written file for a damaged one and removes it, and the other fails, its stage with
it. Here, neither happens to the other. A file that stands alone: it is started by its path.
"""

import sys
from collections.abc import Callable
from typing import Any

from dvc.cli import main
from dvc.stage import PipelineStage
from dvc.stage.cache import StageCache

HALF_WRITTEN = ".tmp"
TRIES = 5

Content = dict[str, Any] | None
_save: Callable[[StageCache, PipelineStage], None] = StageCache.save
_load: Callable[[StageCache, PipelineStage], Content] = StageCache._load
_load_cache: Callable[[StageCache, str, str], Content] = StageCache._load_cache


def save(cache: StageCache, stage: PipelineStage) -> None:
    """Records what the stage made; again, where the file was removed meanwhile."""
    for left in reversed(range(TRIES)):
        try:
            return _save(cache, stage)
        except FileNotFoundError:
            if not left:
                raise


def load(cache: StageCache, stage: PipelineStage) -> Content:
    """What the stage made before; None also where that is just being recorded."""
    try:
        return _load(cache, stage)
    except FileNotFoundError:
        return None


def load_cache(cache: StageCache, key: str, value: str | None) -> Content:
    """The content of a file; None where there is none, or it is not whole yet."""
    if value is None or value.endswith(HALF_WRITTEN):
        return None
    return _load_cache(cache, key, value)


def mend() -> None:
    """Puts these in the place of DVC's own."""
    StageCache.save, StageCache._load, StageCache._load_cache = save, load, load_cache


if __name__ == "__main__":
    mend()
    sys.exit(main())
