"""How others feed and train a network, on photos as they lie in their folder.

``published`` is what S0 to S3 do: Pillow opens a JPEG each time it is asked for, torchvision
changes one photo at a time, ``DataLoader`` has a worker a core, each step waits for its loss.
``reference`` is the way of torchvision's own classification reference: decoded to a tensor, its
transforms' second version, channels-last, mixed precision on a GPU.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from stages.params import Augment
from stages.train.augment import MEAN, STD

WAYS = ("published", "reference")
RESIZED = 256  # pixels, both sides; the crop is taken of these


def cores() -> int:
    return len(os.sched_getaffinity(0))


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
    """An epoch of one of ``WAYS``: a torchvision model from random weights, Adam, BCE."""

    way: str
    backbone: str
    photos: Photos
    batch_size: int
    device: torch.device

    def __post_init__(self) -> None:
        model = models.get_model(self.backbone, num_classes=self.photos.targets.shape[1])
        is_reference = self.way == "reference"
        self._layout = torch.channels_last if is_reference else torch.contiguous_format
        self._model = model.to(self.device, memory_format=self._layout)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-4)
        self._loss_of = nn.BCEWithLogitsLoss()
        self._amp = is_reference and self.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._amp)

    def epoch(self) -> float:
        """Photos per second of one pass over the photos."""
        on_gpu = self.device.type == "cuda"
        batches = DataLoader(
            self.photos,
            self.batch_size,
            shuffle=True,
            num_workers=cores(),
            pin_memory=on_gpu and self.way == "reference",
        )
        self._model.train()
        started, total = time.perf_counter(), 0.0
        for changed, targets in batches:
            images = changed.to(self.device, memory_format=self._layout, non_blocking=on_gpu)
            with torch.autocast(self.device.type, torch.float16, enabled=self._amp):
                loss = self._loss_of(self._model(images), targets.to(self.device))
            self._optimizer.zero_grad()
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            total += loss.item()
        return len(self.photos) / (time.perf_counter() - started)


def load(photos: Photos, batch_size: int) -> float:
    """Photos per second of a core's time made ready in this process, and sent to no other."""
    started = time.process_time()
    for _ in DataLoader(photos, batch_size, shuffle=True):
        pass
    return len(photos) / (time.process_time() - started)
