"""A bundle at work: photos and captions → calibrated probabilities and labels.

Importing this module imports neither torch nor onnxruntime; the runtime ``onnx`` never needs torch.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stages import UserError, cluster
from stages.bundle.bundle import BUNDLE, ONNX, Bundle, read_bundle
from stages.cores import cores
from stages.network.allocation import keep_freed_memory
from stages.network.description import WEIGHTS
from stages.network.tokens import PADDING, Words, words_of
from stages.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from stages.ingest.images import ImageStore

Runtime = Literal["torch", "onnx"]
Origin = tuple[Path, Runtime, str]  # a bundle's folder, what computes, and ``Bundle.sha256``
Inputs = dict[str, np.ndarray]  # ``photos``, ``words`` or both, as ``InferenceModule`` takes them
BATCHES = 2  # that a core of a cluster takes at once
Answer = Callable[[Inputs], np.ndarray]
Features = Callable[[Inputs], tuple[np.ndarray, np.ndarray]]


class Model:
    """What answers for a bundle. Any thread may ask, one at a time.

    Attributes:
        bundle: whose network it is.
        origin: what ``model_of`` loads the same from in other processes; None: only this one is to
            answer.
    """

    def __init__(
        self,
        bundle: Bundle,
        words: Words | None,
        answer: Answer,
        features: Features | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.bundle, self._words, self.origin = bundle, words, origin
        self._answer, self._features = answer, features

    def probabilities(
        self, photos: np.ndarray | None, captions: Sequence[str | None] | None
    ) -> np.ndarray:
        """Calibrated probabilities, float32 (n, labels).

        Args:
            photos: uint8 (n, stored size, stored size, 3), as ``stages.ingest.decoder.decode``
                gives them; None where the network does not look at photos.
            captions: n, None for a photo without one; None: no photo has one.
        """
        inputs, count = self._inputs(photos, captions)
        if not count:
            return np.empty((0, len(self.bundle.labels)), np.float32)
        return self._answer(inputs)

    def features(
        self, photos: np.ndarray | None, captions: Sequence[str | None] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``probabilities`` of one photo or more, and its network's features of them.

        Returns:
            Probabilities, and float32 (n, features): what the last layers make labels of.
        """
        if self._features is None:
            raise ValueError("only the runtime torch gives features")
        return self._features(self._inputs(photos, captions)[0])

    def _inputs(
        self, photos: np.ndarray | None, captions: Sequence[str | None] | None
    ) -> tuple[Inputs, int]:
        """What the network takes, and of how many photos."""
        inputs: Inputs = {}
        count = len(captions or ()) if photos is None else len(photos)
        if self.bundle.description.sees_images:
            side = self.bundle.stored_size
            if photos is None or photos.dtype != np.uint8 or photos.shape[1:] != (side, side, 3):
                raise ValueError(f"this network takes photos as uint8 (n, {side}, {side}, 3)")
            # torch warns of arrays that cannot be written, as Pillow gives them.
            inputs["photos"] = np.require(photos, requirements=["C", "W"])
        if self._words is not None:
            captions = [None] * count if captions is None else captions
            if len(captions) != count:
                raise ValueError(f"{count} photos, but {len(captions)} captions")
            inputs["words"] = _without_padding(self._words.encode(captions))
        return inputs, count

    def ask(
        self, rows: "pl.DataFrame", store: "ImageStore", batch_size: int, what: str
    ) -> np.ndarray:
        """``probabilities`` of photos of the data set, ``batch_size`` at a time, in order.

        Args:
            rows: their records.
            what: is done, for the progress.
        """
        parts = [np.empty((0, len(self.bundle.labels)), np.float32)]
        with Progress(what, len(rows), "photos") as progress:
            for part in self.answers(rows, store, batch_size):
                parts.append(part)
                progress.advance(len(part))
        return np.concatenate(parts)

    def answers(
        self, rows: "pl.DataFrame", store: "ImageStore", batch_size: int
    ) -> Iterator[np.ndarray]:
        """``probabilities`` of photos of the data set in parts, each of some whole batches; by a
        cluster where one is asked for.
        """
        if self.origin and cluster.is_asked_for():
            common = self.origin, store.folder, batch_size
            return cluster.spread(_ask_piece, common, rows.iter_slices(batch_size * BATCHES))
        return self._ask(rows, store, batch_size)

    def _ask(
        self, rows: "pl.DataFrame", store: "ImageStore", batch_size: int
    ) -> Iterator[np.ndarray]:
        """``probabilities`` of each batch; the photos of the next one are read meanwhile."""

        def photos_of(batch: "pl.DataFrame") -> np.ndarray | None:
            sees_images = self.bundle.description.sees_images
            return store.gather(batch["image"].to_numpy()) if sees_images else None

        batches = list(rows.iter_slices(batch_size))
        with ThreadPoolExecutor(1) as ahead:
            following = [ahead.submit(photos_of, batch) for batch in batches[:1]]
            for batch, after in zip_longest(batches, batches[1:]):
                photos = following.pop().result()
                if after is not None:
                    following.append(ahead.submit(photos_of, after))
                yield self.probabilities(photos, batch["caption"].to_list())

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """float (n, labels) → bool (n, labels): which labels hold."""
        return self.bundle.content.decision.decide(probabilities)


def load_model(folder: Path = BUNDLE, runtime: Runtime = "torch") -> Model:
    """The model of the bundle in ``folder``, ready to answer.

    Args:
        runtime: ``torch`` computes on a GPU where there is one, in the precision of training,
            else on the CPU in single precision, as ``onnx`` does.

    Raises:
        UserError: the bundle cannot be read, or has no graph for ``onnx``.
    """
    bundle = read_bundle(folder)
    try:
        words = words_of(bundle.description, folder)
        answer, features = _torch(bundle, words) if runtime == "torch" else (_onnx(bundle), None)
    except UserError:
        raise
    except Exception as error:  # its hashes are right, but made by whom?
        raise UserError(f"{folder} describes no network that can be built: {error!r}") from error
    # A GPU here answers sooner than the cores of a cluster.
    spreads = runtime == "onnx" or not _has_gpu()
    origin = (folder, runtime, bundle.sha256) if spreads else None
    return Model(bundle, words, answer, features, origin)


def _ask_piece(common: tuple[Origin, Path, int], rows: "pl.DataFrame") -> np.ndarray:
    """What a core of a cluster does: ``Model.ask`` of some rows."""
    from stages.ingest.images import ImageStore

    origin, store, batch_size = common
    return np.concatenate(list(model_of(origin)._ask(rows, ImageStore(store), batch_size)))


@lru_cache(maxsize=1)  # a core of a cluster asks the same one again and again
def model_of(origin: Origin) -> Model:
    """The model that ``load_model`` gave in another process, with files that both see."""
    keep_freed_memory()
    folder, runtime, _ = origin
    return load_model(folder, runtime)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _torch(bundle: Bundle, words: Words | None) -> tuple[Answer, Features]:
    import torch

    from stages.bundle.inference import InferenceModule
    from stages.network.precision import precision_for

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = InferenceModule.of(bundle, words).to(device).to(memory_format=torch.channels_last)
    # On a CPU in single precision, whatever training took: the two runtimes say the same there.
    wish = bundle.description.precision if device.type == "cuda" else "fp32"
    precision = precision_for(device, wish)
    features = partial(module.ask_features, precision=precision)
    return partial(module.ask, precision=precision), features


def _onnx(bundle: Bundle) -> Answer:
    if not bundle.has_onnx:
        raise UserError(
            f"{bundle.folder} holds no {ONNX}; set bundle.onnx to true and make it anew "
            "(dvc repro bundle), or use torch"
        )
    # It would tell its makers of each session, and give this machine a number, in the home folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its own choice would be all cores of the machine, also those that this process may not use.
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or cores())
    # Handed over as bytes: it refuses files that are links, as DVC may make them.
    weights = (bundle.folder / WEIGHTS).read_bytes()
    options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    graph = (bundle.folder / ONNX).read_bytes()
    there = onnxruntime.get_available_providers()  # CUDA's with the package onnxruntime-gpu
    providers = [
        each for each in ("CUDAExecutionProvider", "CPUExecutionProvider") if each in there
    ]
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # it has a kind of its own for each way to fail
        raise UserError(f"{bundle.folder / ONNX} cannot be loaded: {error}") from error
    return lambda inputs: np.asarray(session.run(["probabilities"], inputs)[0])


def _without_padding(words: np.ndarray) -> np.ndarray:
    """Columns that are padding in all rows are left out, all but one."""
    longest = (words != PADDING).sum(axis=1).max(initial=1)
    return np.ascontiguousarray(words[:, :longest])
