"""Features of a frozen backbone are computed once and give what the photos themselves give."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages import UserError, resumable
from stages.files import cache_folder
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.network import load_network
from stages.network.preprocess import prepare
from stages.params import read
from stages.split import folds
from stages.train import __main__ as stage
from stages.train import features
from stages.train.__main__ import main
from stages.train.augment import augment
from stages.train.loop import fit
from stages.train.params import Augment, Train
from tests.train.test_stage import written

CPU = torch.device("cpu")
FROZEN = {
    "train.freeze": True,
    "train.backbone": "squeezenet1_1",
    "train.augment.shift": 0,
    "train.epochs": 2,
}


def kept() -> list[Path]:
    return list(cache_folder("features").glob(f"*/{resumable.ROWS}"))


@pytest.mark.parametrize("flip", [False, True])
def test_kept_features_train_the_same_network(prepared: Path, params, monkeypatch, flip: bool):
    params(FROZEN | {"train.test_time_flip": flip})
    main()
    files = kept()
    assert len(files) == 1 + flip
    weights = load_file("models/network/network.safetensors")
    with_features = written()
    monkeypatch.setattr(features, "are_constant", lambda params: False)
    main()
    for name, tensor in load_file("models/network/network.safetensors").items():
        assert torch.allclose(tensor, weights[name], atol=1e-4), name
    assert written()["validation"]["loss"] == pytest.approx(
        with_features["validation"]["loss"], 1e-3
    )
    assert kept() == files


def test_features_of_places_are_kept_in_half_the_room(prepared: Path, params, monkeypatch):
    params(FROZEN | {"train.backbone": "timm/test_convnext", "train.pooling": "attention"})
    main()
    (file,) = kept()
    assert np.load(file, mmap_mode="r").dtype == np.float16
    with_features = written()["validation"]["loss"]
    monkeypatch.setattr(features, "are_constant", lambda params: False)
    main()
    assert written()["validation"]["loss"] == pytest.approx(with_features, 1e-3)


VIEWS = FROZEN | {"train.views": 3, "train.augment.resized_crop": [0.3, 1]}


def test_the_first_view_is_the_photo_and_the_others_are_what_augmentation_makes(
    prepared: Path, params, monkeypatch
):
    given = []

    def listening(network, description, *rows_and_more):
        given.extend(rows_and_more[:2])
        return fit(network, description, *rows_and_more)

    monkeypatch.setattr(stage, "fit", listening)
    params(VIEWS)
    main()
    training, validation = given
    assert [len(rows.features) for rows in given] == [3, 1]
    assert validation.mirror_features is None
    network, description, _ = load_network()
    everything, parts = records.read(), folds.read()
    stored = [
        folds.rows_of(everything, parts, part)["image"].to_numpy()
        for part in ("train", "validation")
    ]
    photos = np.sort(np.concatenate(stored))
    for rows, places in zip(given, stored, strict=True):
        assert np.array_equal(photos[rows.images], places)
    options, size = read(Train).augment, read(Train).batch_size

    def second_view(images: torch.Tensor, number: int) -> torch.Tensor:
        (seed,) = np.random.SeedSequence((2, number * size)).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed))
        return augment(images, params=options, generator=generator)

    seen = {
        0: lambda images, _: prepare(images, None, description.mean, description.std),
        2: second_view,
    }
    for view, see in seen.items():
        batches = Rows(ImageStore(), photos, None, None).batches(size, CPU)
        with torch.inference_mode():
            expected = torch.cat(
                [network.backbone(see(each.images, n)) for n, each in enumerate(batches)]
            )
        assert np.allclose(training.features[view], expected, atol=1e-4)
    assert not np.allclose(training.features[1], training.features[2], atol=1e-2)


def test_other_runs_find_the_views_and_more_of_them_add_to_these(prepared: Path, params):
    params(VIEWS)
    main()
    first = kept()
    params(VIEWS | {"train.lr": 1e-3, "train.views": 4})
    main()
    assert len(kept()) == 4
    assert set(first) < set(kept())


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"train.freeze": False}, "train.freeze"),
        ({"train.unfreeze": 1}, "train.unfreeze"),
        ({"train.augment.resized_crop": None}, "train.augment"),
    ],
)
def test_views_that_would_have_no_effect_are_refused(params, change, key):
    params(VIEWS | change)
    with pytest.raises(UserError, match=rf"train\.views is 3.*{key}"):
        read(Train)


def test_another_head_finds_them_and_pays_their_time_again(prepared: Path, params):
    params(FROZEN)
    main()
    (file,) = kept()
    made = file.stat().st_mtime_ns
    (file.parent / resumable.STATE).write_text("[160, 1000.0]")
    params(FROZEN | {"train.dropout": 0.4, "train.lr": 1e-3, "train.loss.name": "focal"})
    main()
    assert kept() == [file]
    assert file.stat().st_mtime_ns == made
    assert written()["seconds"] >= 1000  # rounded to a tenth, and training takes less


def test_a_killed_run_goes_on_with_the_rest(
    prepared: Path, params, monkeypatch: pytest.MonkeyPatch
):
    params(FROZEN)
    main()
    (file,) = kept()
    expected = file.read_bytes()
    shutil.rmtree(file.parent)
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_KEEPING", 0)
    of_batches, computed = features._of_batches, []

    def until(batch: int, *given: Any) -> Iterator[np.ndarray]:
        for part in of_batches(*given):
            if len(computed) == batch:
                raise KeyboardInterrupt
            computed.append(len(part))
            yield part

    for batch in (2, 3):
        monkeypatch.setattr(features, "_of_batches", partial(until, batch))
        with pytest.raises(KeyboardInterrupt):
            main()
    monkeypatch.setattr(features, "_of_batches", partial(until, -1))
    main()
    assert kept() == [file]
    assert file.read_bytes() == expected
    assert sum(computed) == 160


def test_other_weights_have_other_features(prepared: Path, params):
    params(FROZEN)
    main()
    params(FROZEN | {"train.seed": 8})  # random weights here
    main()
    assert len(kept()) == 2


def test_another_batch_size_rounds_otherwise(prepared: Path, params):
    for size in (8, 16):
        params(FROZEN | {"train.batch_size": size})
        main()
    assert len(kept()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"train.freeze": False},
        {"train.unfreeze": 1},
        {"train.inputs": "caption"},
        *(
            {
                f"train.augment.{name}": {
                    "crop": 24,
                    "resized_crop": [0.5, 1],
                    "randaugment": 1,
                }.get(name, 0.1)
            }
            for name in Augment.model_fields
            if name not in ("aspect", "magnitude", "mixed")
        ),
    ],
)
def test_what_changes_from_epoch_to_epoch_is_not_kept(params, change):
    params(FROZEN)
    assert features.are_constant(read(Train))
    params(FROZEN | change)
    assert not features.are_constant(read(Train))


def test_augmented_photos_are_kept_as_views(params):
    params(VIEWS)
    assert features.are_constant(read(Train))
