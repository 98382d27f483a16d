"""Features of a frozen backbone are computed once and give what the photos themselves give."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages.files import cache_folder
from stages.params import read
from stages.train import features
from stages.train.__main__ import main
from stages.train.params import Augment, Train
from tests.train.test_stage import written

FROZEN = {
    "train.freeze": True,
    "train.backbone": "squeezenet1_1",
    "train.augment.shift": 0,
    "train.epochs": 2,
}


def kept() -> list[Path]:
    return list(cache_folder("features").glob("*/features.npy"))


def test_kept_features_train_the_same_network(prepared: Path, params, monkeypatch):
    params(FROZEN)
    main()
    (file,) = kept()
    weights = load_file("models/network/network.safetensors")
    with_features = written()
    monkeypatch.setattr(features, "are_constant", lambda params: False)
    main()
    for name, tensor in load_file("models/network/network.safetensors").items():
        assert torch.allclose(tensor, weights[name], atol=1e-4), name
    assert written()["validation"]["loss"] == pytest.approx(
        with_features["validation"]["loss"], 1e-3
    )
    assert kept() == [file]


def test_another_head_finds_them_and_pays_their_time_again(prepared: Path, params):
    params(FROZEN)
    main()
    (file,) = kept()
    made = file.stat().st_mtime_ns
    (file.parent / "seconds.json").write_text("1000.0")
    params(FROZEN | {"train.dropout": 0.4, "train.lr": 1e-3, "train.loss.name": "focal"})
    main()
    assert kept() == [file]
    assert file.stat().st_mtime_ns == made
    assert written()["seconds"] >= 1000  # rounded to a tenth, and training takes less


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
        {"train.test_time_flip": True},
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
