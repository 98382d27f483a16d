"""What the bundle answers for many photos; a run that is killed goes on after those it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import torch

import stages.bundle
import stages.network
from stages import resumable
from stages.bundle.model import Model
from stages.files import cache_folder, digest
from stages.ingest import images
from stages.ingest.images import ImageStore
from stages.ingest.records import RECORDS
from stages.network.network import memory_for
from stages.split import folds


@contextmanager
def answers(
    model: Model, asked: pl.DataFrame, store: ImageStore, batch_size: int
) -> Iterator[tuple[np.ndarray, float]]:
    """The probabilities of photos, float32 (n, labels), and the seconds that they took.

    They are kept until the block ends well, under a key of all that decides what they are.

    Args:
        asked: the photos' records, as ``folds.rows_for_predict`` gives them.
    """
    if asked.is_empty():
        yield np.empty((0, len(model.bundle.labels)), np.float32), 0.0
        return
    key = digest(
        model.bundle.sha256,
        f"{store.form} {store.codec} {batch_size} {torch.__version__} {torch.cuda.is_available()}",
        Path(stages.bundle.__file__).parent,
        Path(stages.network.__file__).parent,
        Path(folds.__file__),
        Path(images.__file__),
        RECORDS,
        folds.FOLDS,
    )
    folder = cache_folder("predict") / key[:32]

    def from_row(first: int) -> Iterator[np.ndarray]:
        return model.answers(asked[first:], store, batch_size)

    with memory_for("predict.batch_size", batch_size):
        kept = resumable.array(folder, len(asked), from_row, "predict")
    yield kept
    resumable.remove(folder)
