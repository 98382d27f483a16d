"""Training's state after each epoch, so that a killed run goes on where it was.

Checkpoints are no DVC output (DVC empties outputs before a stage runs): they lie in the cache
folder, under a key of everything that decides what the weights will be.
"""

from pathlib import Path
from typing import Any

import torch

import stages.network
from stages import printable
from stages.files import cache_folder, digest, whole
from stages.ingest import images
from stages.ingest.form import Form
from stages.ingest.records import RECORDS
from stages.network.nets.classifier import Classifier
from stages.network.network import fingerprint
from stages.split.folds import FOLDS
from stages.train.params import Train
from stages.vocab.vocabulary import VOCABULARY

# These decide how far a run may go, and how fast, not where to.
ELSEWHERE = {"max_mb", "max_hours", "devices"}


class Checkpoint:
    """The checkpoint of the run that these parameters, data, code and start define.

    Args:
        network: as it starts, so that other weights or word vectors in a file count.
        form: of the photos in the image store.
        precision: the one computed in: with ``auto`` it depends on the device.
    """

    def __init__(self, params: Train, network: Classifier, form: Form, precision: str) -> None:
        key = digest(
            params.model_dump_json(exclude=ELSEWHERE),
            f"{form} {precision} {torch.__version__}",
            Path(__file__).parent,
            Path(stages.network.__file__).parent,
            Path(images.__file__),
            RECORDS,
            FOLDS,
            VOCABULARY,
            fingerprint(network),
        )
        self.path = cache_folder("checkpoints") / f"{key[:32]}.pt"

    def save(self, state: dict[str, Any]) -> None:
        with whole(self.path) as temporary:
            torch.save(state, temporary)

    def load(self) -> dict[str, Any] | None:
        """The state after the last finished epoch; None where there is none to go on from."""
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # torch raises many kinds for a file that is something else
            # It was written whole, so the disk or a person spoilt it: start anew, but say so.
            why = printable(str(error))
            print(f"train: {self.path} cannot be read ({why}); starting from the first epoch")
            return None

    def remove(self) -> None:
        """To be called once the results are written: the next run of the same starts anew."""
        self.path.unlink(missing_ok=True)
