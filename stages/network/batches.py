"""Rows to batches on the device: the next one is made while this one is in use."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from stages.ingest.images import ImageStore

SAVED = ("images", "words", "targets", "known")  # of ``Rows``


class Shard(NamedTuple):
    """The slice of a batch that one of several devices computes.

    Attributes:
        whole: how many rows the whole batch has.
        rows: which of them this device computes.
        weight: of its mean loss, so that the mean over the devices is that over the whole batch.
    """

    whole: int
    rows: slice
    weight: float

    @classmethod
    def all(cls, rows: int) -> "Shard":
        """The whole batch of ``rows``, as the only device computes it."""
        return cls(rows, slice(0, rows), 1.0)


@dataclass(frozen=True)
class Batch:
    """What a network sees of ``n`` rows.

    Attributes:
        images: (n, 3, height, width) in channels-last memory: uint8 as stored, float once
            ``stages.train.augment`` has prepared it; None where photos are not looked at.
        features: float32 (n, features) of a frozen backbone, or of places float16
            (n, places, features), in place of ``images``; else None.
        words: int64 (n, length of the longest caption), padded with 0; None without captions.
        lengths: int64 (n,), words of each caption, on the CPU, where packing needs them.
        targets: float32 (n, labels); None where labels are not known.
        known: bool (n, labels), which of ``targets`` are known, the others being 0; None: all.
        known_share: how much of the whole batch is known, the rows of other devices counted.
        shard: which rows of the batch these are: all of them, where one device has no other to
            share with; None where ``Rows`` did not make it.
        whole_known: as ``known``, of all rows of the whole batch, on the CPU.
        mirror_features: as ``features``, of the photos' mirror images; None where nobody asks.
    """

    images: torch.Tensor | None
    features: torch.Tensor | None
    words: torch.Tensor | None
    lengths: torch.Tensor | None
    targets: torch.Tensor | None
    known: torch.Tensor | None = None
    known_share: float = 1.0
    shard: Shard | None = None
    whole_known: torch.Tensor | None = None
    mirror_features: torch.Tensor | None = None

    def part(self, rows: slice) -> "Batch":
        """These of its rows; ``shard``, and what is told of the whole batch, stay as they are."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "whole_known"}
        parts: dict[str, Any] = {n: t[rows] for n, t in values.items() if torch.is_tensor(t)}
        return replace(self, **parts)

    def mirrored(self) -> "Batch":
        """This batch with the mirror images of its photos in their place."""
        if self.features is None:
            return self.map_images(lambda images: images.flip(3))
        assert self.mirror_features is not None
        return replace(self, features=self.mirror_features)

    def map_images(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """This batch with ``function`` applied to its images; as it is where it has none."""
        return self if self.images is None else replace(self, images=function(self.images))


@dataclass(frozen=True)
class Rows:
    """Part of the data in the form of a network's inputs, read batch by batch.

    Attributes:
        store: where the photos are; None where photos are not looked at, or left out.
        images: int (rows,), each row's place in the store, or among ``features``.
        words: int64 (rows, maximum length) from ``Vocabulary.encode`` or ``Tokens.encode``; None
            without captions.
        targets: float32 (rows, labels); None where labels are not known.
        features: float32 (photos, features), or of places float16 (photos, places, features), for
            each view of the photos, computed once, in their place; the first is of the photos as
            they are.
        known: bool (rows, labels), which of ``targets`` are known, the others being 0; None: all.
        mirror_features: as one of ``features``, of the mirror images.
        views: int (rows,), which view each row shows; None: the first.
    """

    store: ImageStore | None
    images: np.ndarray
    words: torch.Tensor | None
    targets: torch.Tensor | None
    features: Sequence[np.ndarray] | None = None
    known: torch.Tensor | None = None
    mirror_features: np.ndarray | None = None
    views: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def save(self, folder: Path) -> None:
        """Writes all but the photos and their features into ``folder``, a new one."""
        folder.mkdir()
        for name in SAVED:
            if (values := getattr(self, name)) is not None:
                np.save(folder / f"{name}.npy", np.asarray(values))

    @classmethod
    def mapped(cls, folder: Path, store: ImageStore | None) -> "Rows":
        """What was saved in ``folder``: read as it is asked for, once for all processes."""

        def tensor(name: str) -> torch.Tensor | None:
            file = folder / f"{name}.npy"
            # Copied where it is written to, as torch wants it, though nobody writes.
            return torch.from_numpy(np.load(file, mmap_mode="c")) if file.exists() else None

        images = np.load(folder / "images.npy", mmap_mode="r")
        return cls(store, images, tensor("words"), tensor("targets"), known=tensor("known"))

    def draw_views(self, seed: int) -> "Rows":
        """These rows, each with a view of its photo drawn at random, where there are several."""
        if self.features is None or len(self.features) == 1:
            return self
        drawn = np.random.default_rng(seed).integers(len(self.features), size=len(self))
        return replace(self, views=drawn)

    def batches(
        self,
        size: int,
        device: torch.device,
        order: np.ndarray | None = None,
        shard_of: Callable[[int], Shard] = Shard.all,
    ) -> Iterator[Batch]:
        """Yields the rows in ``order`` (all of them, as they stand, by default) ``size`` at a time.

        While a batch is in use, a thread copies the next one out of the store, and towards a GPU.

        Args:
            order: int (n,), numbers of rows.
            shard_of: gives, for the number of rows in a batch, the shard that this device reads.
        """
        order = np.arange(len(self)) if order is None else order
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(1) as ahead:

            def begin(chunk: np.ndarray) -> Future[Batch]:
                return ahead.submit(self._batch, chunk, device, shard_of(len(chunk)))

            following = begin(chunks[0]) if chunks else None
            for chunk in [*chunks[1:], None]:
                if following is None:
                    return
                batch = following.result()
                following = begin(chunk) if chunk is not None else None
                yield batch

    def _batch(self, chunk: np.ndarray, device: torch.device, shard: Shard) -> Batch:
        def on_device(tensor: torch.Tensor) -> torch.Tensor:
            if device.type == "cuda":
                tensor = tensor.pin_memory()
            return tensor.to(device, non_blocking=True)

        whole_known = None if self.known is None else self.known[chunk]
        share = 1.0 if whole_known is None else float(whole_known.float().mean())
        chunk = chunk[shard.rows]
        images = features = mirror = words = lengths = targets = known = None
        if self.features is not None:
            features = on_device(torch.from_numpy(self._features(chunk)))
            if self.mirror_features is not None:
                mirror = on_device(torch.from_numpy(self.mirror_features[self.images[chunk]]))
        elif self.store is not None:
            pixels = torch.from_numpy(self.store.gather(self.images[chunk]))
            images = on_device(pixels).permute(0, 3, 1, 2)
        if self.words is not None:
            words = self.words[chunk]
            lengths = (words != 0).sum(dim=1)
            words = on_device(words[:, : max(1, int(lengths.max()))].contiguous())
        if self.targets is not None:
            targets = on_device(self.targets[chunk])
        if self.known is not None:
            known = on_device(self.known[chunk])
        return Batch(
            *(images, features, words, lengths, targets, known, share, shard),
            whole_known=whole_known,
            mirror_features=mirror,
        )

    def _features(self, chunk: np.ndarray) -> np.ndarray:
        """Of the view that each row of ``chunk`` shows, (n, …)."""
        assert self.features is not None
        photos = self.images[chunk]
        features: np.ndarray = self.features[0][photos]
        if self.views is None:
            return features
        views = self.views[chunk]
        for view in np.unique(views):
            shown = views == view
            features[shown] = self.features[view][photos[shown]]
        return features
