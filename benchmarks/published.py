"""How others feed and train a network, on photos as they lie in their folder.

``published`` is what S0 to S3 do: Pillow opens a JPEG each time it is asked for, torchvision
changes one photo at a time, ``DataLoader`` has a worker a core, each step waits for its loss.
``reference`` is the way of torchvision's own classification reference: decoded to a tensor, its
transforms' second version, channels-last, mixed precision on a GPU.

They are measured in processes of their own, ``apart``: how the train stage manages memory is not
theirs to gain from.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from stages.cores import cores
from stages.network.description import MEAN, STD
from stages.train.params import Augment

WAYS = ("published", "reference")
RESIZED = 256  # pixels, both sides; the crop is taken of these


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread on one core, and those that it starts."""
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {min(before)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def apart(measure: Callable[..., float], *arguments: Any) -> float:
    """What ``measure`` says in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


class Photos(Dataset):
    """Files and targets, float32 (photos, labels), read and changed one by one."""

    def __init__(self, way: str, files: list[Path], targets: torch.Tensor, augment: Augment):
        self.files, self.targets = files, targets
        self._read = _pillow if way == "published" else _tensor
        self._change = _one_by_one(augment) if way == "published" else _second_version(augment)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._change(self._read(self.files[index])), self.targets[index]


def _pillow(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def _tensor(file: Path) -> torch.Tensor:
    return decode_image(str(file), mode=ImageReadMode.RGB)


def _one_by_one(augment: Augment) -> transforms.Compose:
    """S0's list, in its order; the strengths are those of our preset."""
    jitter = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    return transforms.Compose(
        [
            transforms.Resize((RESIZED, RESIZED)),
            transforms.RandomCrop(augment.crop),
            transforms.ColorJitter(*jitter),
            transforms.RandomRotation(augment.rotation),
            transforms.RandomHorizontalFlip(augment.horizontal_flip),
            transforms.RandomVerticalFlip(augment.vertical_flip),
            transforms.RandomGrayscale(augment.grey),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def _second_version(augment: Augment) -> v2.Compose:
    """The same on uint8 tensors."""
    jitter = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    return v2.Compose(
        [
            v2.Resize((RESIZED, RESIZED), antialias=True),
            v2.RandomCrop(augment.crop),
            v2.ColorJitter(*jitter),
            v2.RandomRotation(augment.rotation),
            v2.RandomHorizontalFlip(augment.horizontal_flip),
            v2.RandomVerticalFlip(augment.vertical_flip),
            v2.RandomGrayscale(augment.grey),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


@dataclass
class Trainer:
    """A torchvision model from random weights, Adam and BCE, in one of ``WAYS``."""

    way: str
    backbone: str
    labels: int
    device: torch.device

    def __post_init__(self) -> None:
        model = models.get_model(self.backbone, num_classes=self.labels)
        is_reference = self.way == "reference"
        self._on_gpu = self.device.type == "cuda"
        self._layout = torch.channels_last if is_reference else torch.contiguous_format
        self._model = model.to(self.device, memory_format=self._layout).train()
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-4)
        self._loss_of = nn.BCEWithLogitsLoss()
        self._amp = is_reference and self._on_gpu
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._amp)

    def step(self, changed: torch.Tensor, targets: torch.Tensor) -> float:
        """The loss of a batch, which is waited for."""
        images = changed.to(self.device, memory_format=self._layout, non_blocking=self._on_gpu)
        with torch.autocast(self.device.type, torch.float16, enabled=self._amp):
            loss = self._loss_of(self._model(images), targets.to(self.device))
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.item()


def epoch(
    way: str, backbone: str, photos: Photos, batch_size: int, side: int, device: torch.device
) -> float:
    """Photos per second of one pass over the photos, ``side`` pixels high and wide.

    What a network's first steps set up is not counted.
    """
    labels = photos.targets.shape[1]
    trainer = Trainer(way, backbone, labels, device)
    for _ in range(2):
        trainer.step(torch.rand(batch_size, 3, side, side), torch.zeros(batch_size, labels))
    batches = DataLoader(
        photos,
        batch_size,
        shuffle=True,
        num_workers=cores(),
        pin_memory=device.type == "cuda" and way == "reference",
    )
    started = time.perf_counter()
    for changed, targets in batches:
        trainer.step(changed, targets)
    return len(photos) / (time.perf_counter() - started)


def load(photos: Photos, batch_size: int) -> float:
    """Photos per second of a core's time made ready by one process, and sent to no other."""
    with one_core():
        started = time.process_time()
        for _ in DataLoader(photos, batch_size, shuffle=True):
            pass
        return len(photos) / (time.process_time() - started)
