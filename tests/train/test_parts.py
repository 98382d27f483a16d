"""Batches, losses, optimisers and schedules."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from stages.ingest.images import ImageStore
from stages.params import Loss, Train, read
from stages.train import recipe
from stages.train.batches import Rows
from stages.train.losses import loss_function
from stages.train.precision import precision_for

CPU = torch.device("cpu")


def store(folder, rows: int = 10) -> ImageStore:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, 4, 4, 3), np.uint8)
    np.save(folder / "00000.npy", pixels)
    return ImageStore(folder)


def test_batches_hold_the_rows_asked_for_in_order(tmp_path):
    photos = store(tmp_path)
    words = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0], [5, 6, 0, 0], [7, 8, 0, 0]])
    targets = torch.arange(10.0).reshape(5, 2)
    rows = Rows(photos, np.array([9, 0, 3, 3, 1]), words, targets)
    order = np.array([3, 1, 4, 0, 2])
    batches = list(rows.batches(2, CPU, order))
    assert [len(batch.targets) for batch in batches] == [2, 2, 1]
    seen = torch.cat([batch.images for batch in batches])
    expected = torch.from_numpy(photos.gather(np.array([3, 0, 1, 9, 3]))).permute(0, 3, 1, 2)
    assert seen.dtype == torch.uint8
    assert torch.equal(seen, expected)
    assert batches[0].images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.cat([batch.targets for batch in batches]), targets[order])
    assert batches[0].words.tolist() == [[5, 6], [4, 0]]  # cut to the longest
    assert batches[0].lengths.tolist() == [2, 1]
    assert batches[2].words.tolist() == [[0]]
    assert batches[2].lengths.tolist() == [0]


def test_what_a_network_does_not_use_is_not_read(tmp_path):
    (batch,) = Rows(None, np.arange(3), None, None).batches(8, CPU)
    assert batch.images is None
    assert batch.words is None
    assert batch.targets is None
    assert list(Rows(None, np.arange(0), None, None).batches(8, CPU)) == []


def test_an_error_while_reading_reaches_the_loop(tmp_path):
    rows = Rows(store(tmp_path), np.array([0, 99_999]), None, None)
    with pytest.raises(IndexError):
        list(rows.batches(2, CPU))


@pytest.fixture
def decisions():
    torch.manual_seed(0)
    return torch.randn(20, 3), (torch.rand(20, 3) < 0.4).float()


def test_bce_is_the_log_loss(decisions):
    logits, targets = decisions
    loss = loss_function(Loss(name="bce", gamma=2, alpha=None))(logits, targets)
    expected = log_loss(targets.numpy().ravel(), logits.sigmoid().numpy().ravel())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_loss_is_the_formula(decisions, alpha):
    logits, targets = decisions
    loss = loss_function(Loss(name="focal", gamma=2, alpha=alpha))(logits, targets)
    right = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    weight = 1 if alpha is None else torch.where(targets > 0, alpha, 1 - alpha)
    assert float(loss) == pytest.approx(float((-weight * (1 - right) ** 2 * right.log()).mean()))


def changed(**changes) -> Train:
    params = read(Train).model_dump()
    schedule = params["schedule"] | changes.pop("schedule", {})
    return Train(**params | changes | {"schedule": schedule})


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_optimisers_take_their_options_and_leave_the_frozen_out(params, name, kind):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    given = changed(optimizer=name, lr=0.1, momentum=0.7, weight_decay=0.3)
    built = recipe.optimizer(network, given)
    assert type(built) is kind
    (group,) = built.param_groups
    assert group["lr"] == 0.1
    assert group["weight_decay"] == 0.3
    assert group["params"] == list(network[1].parameters())
    assert name != "sgd" or group["momentum"] == 0.7


def rates(params: Train, metrics: list[float], steps_per_epoch: int = 10) -> list[float]:
    optimizer = recipe.optimizer(nn.Linear(1, 1), params)
    steps = steps_per_epoch * len(metrics)
    rate = recipe.LearningRate(optimizer, params.schedule, params.lr, steps)
    seen = []
    for metric in metrics:
        for _ in range(steps_per_epoch):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rate.after_step()
        rate.after_epoch(metric)
    return seen


def test_one_cycle_peaks_at_lr_after_the_warm_up(params):
    seen = rates(changed(lr=0.1, schedule={"name": "one-cycle", "warmup": 0.3}), [0.0] * 10)
    assert max(seen) == pytest.approx(0.1)
    assert 27 <= int(np.argmax(seen)) <= 31
    assert seen[0] < 0.01
    assert seen[-1] < 0.001


def test_plateau_waits_and_then_lowers(params):
    schedule = {"name": "plateau", "factor": 0.5, "patience": 2}
    seen = rates(changed(lr=0.1, schedule=schedule), [0.5, 0.6, 0.6, 0.6, 0.7], 1)
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05])


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.1), (4, 0.25), (3, 0.1), (2, 0.5), (1, 0.3)])
def test_one_cycle_copes_with_few_steps(params, steps: int, warmup: float):
    seen = rates(changed(lr=0.1, schedule={"name": "one-cycle", "warmup": warmup}), [0.0], steps)
    assert max(seen) == pytest.approx(0.1)


def test_no_schedule_keeps_the_rate(params):
    assert set(rates(changed(lr=0.1, schedule={"name": "none"}), [0.0] * 3)) == {0.1}


def test_automatic_precision_suits_the_device():
    assert precision_for(CPU, "auto") == "fp32"
    assert precision_for(CPU, "bf16") == "bf16"
