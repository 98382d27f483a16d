"""Optimisers, schedules, the average of the weights, and the step that moves them."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR

from stages.network.nets.fusion import Output
from stages.network.precision import precision_for
from stages.params import read
from stages.train import recipe
from stages.train.losses import balancing_weights
from stages.train.params import Train
from tests.conftest import ROOT

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adadelta": torch.optim.Adadelta,
    "adam": torch.optim.Adam,
    "amsgrad": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
ONE_CYCLE = {"name": "one-cycle", "warmup": 0.3, "start": 1e-5, "end": 1e-5, "momentum": 0.85}


class Small(nn.Sequential):
    """Two linear layers around a batch norm; the first layer came with weights."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))

    def pretrained_parts(self) -> list[nn.Module]:
        return [self[0]]

    def forward(self, rows: torch.Tensor) -> Output:
        logits = super().forward(rows)
        return Output(logits, [(1.0, logits)])


def changed(**changes) -> Train:
    params = read(Train, ROOT / "params.yaml").model_dump()
    for section in ("schedule", "loss"):
        changes[section] = params[section] | changes.get(section, {})
    return Train(**params | changes)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_their_options_and_leave_the_frozen_out(name: str):
    network = Small()
    network[0].requires_grad_(False)
    given = changed(optimizer=name, lr=0.1, momentum=0.7, weight_decay=0.3)
    built = recipe.optimizer(network, given)
    assert type(built) is OPTIMIZERS[name]
    (group,) = built.param_groups
    assert group["lr"] == 0.1
    assert group["weight_decay"] == 0.3
    assert group["params"] == [*network[1].parameters(), *network[2].parameters()]
    assert group.get("momentum", 0.7) == 0.7
    assert group.get("amsgrad", False) == (name == "amsgrad")


def test_weights_come_in_groups_by_rate_and_decay():
    network = Small()
    params = changed(lr=0.1, pretrained_lr=0.01, weight_decay=0.3, decay="weights")
    groups = recipe.optimizer(network, params).param_groups
    first, norm, last = network
    assert [(group["lr"], group["weight_decay"], group["params"]) for group in groups] == [
        (0.1, 0.3, [last.weight]),
        (0.1, 0.0, [norm.weight, norm.bias, last.bias]),
        (pytest.approx(0.001), 0.3, [first.weight]),
        (pytest.approx(0.001), 0.0, [first.bias]),
    ]


def test_what_may_be_unfrozen_is_known_from_the_start():
    network = Small()
    network[0].requires_grad_(False)
    (group,) = recipe.optimizer(network, changed(freeze=True, unfreeze=1)).param_groups
    assert group["params"] == list(network.parameters())


def schedule(params: Train, metrics: list[float], steps_per_epoch: int = 10):
    """Rate and momentum of each group (columns) at each step (rows)."""
    optimizer = recipe.optimizer(Small(), params)
    steps = steps_per_epoch * len(metrics)
    rate = recipe.LearningRate(optimizer, params, steps)
    seen = []
    for metric in metrics:
        for _ in range(steps_per_epoch):
            seen.append(state(optimizer))
            optimizer.step()
            rate.after_step()
        rate.after_epoch(metric)
    rates, momenta = zip(*seen, strict=True)
    return np.array(rates), np.array(momenta)


def state(optimizer: torch.optim.Optimizer) -> tuple[list[float], list[float]]:
    groups = optimizer.param_groups
    momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in groups]
    return [group["lr"] for group in groups], momenta


def torchs(params: Train, steps: int, scheduler_of) -> tuple[np.ndarray, np.ndarray]:
    """The same of a scheduler of torch."""
    optimizer = recipe.optimizer(Small(), params)
    scheduler = scheduler_of(optimizer)
    seen = []
    for step in range(steps):
        seen.append(state(optimizer))
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    rates, momenta = zip(*seen, strict=True)
    return np.array(rates), np.array(momenta)


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
def test_one_cycle_is_torchs_momentum_included(name: str):
    params = changed(optimizer=name, lr=0.01, momentum=0.95, pretrained_lr=0.1, schedule=ONE_CYCLE)

    def scheduler(optimizer: torch.optim.Optimizer) -> OneCycleLR:
        return OneCycleLR(
            optimizer, [0.01, 0.001], total_steps=100, pct_start=0.3, div_factor=1e5,
            final_div_factor=1.0, base_momentum=0.85, max_momentum=0.95,
        )  # fmt: skip

    rates, momenta = schedule(params, [0.0] * 10)
    expected_rates, expected_momenta = torchs(params, 100, scheduler)
    np.testing.assert_allclose(rates, expected_rates, rtol=1e-9)
    np.testing.assert_allclose(momenta, expected_momenta, rtol=1e-9)
    # S4's numbers: 1e-7 → 0.01 → 1e-7, and 0.95 → 0.85 → 0.95.
    assert (rates[0, 0], rates[:, 0].max(), rates[-1, 0]) == pytest.approx((1e-7, 0.01, 1e-7))
    assert (momenta[0, 0], momenta.min(), momenta[-1, 0]) == pytest.approx((0.95, 0.85, 0.95))


def test_the_momentum_stays_where_it_is_not_cycled():
    params = changed(optimizer="adam", schedule=ONE_CYCLE | {"momentum": None})
    rates, momenta = schedule(params, [0.0] * 3)
    assert len(np.unique(rates)) > 10
    assert set(momenta.ravel()) == {0.9}


def test_cosine_is_torchs_after_a_linear_warm_up():
    numbers = {"name": "cosine", "warmup": 0.1, "start": 0.01, "end": 0.001}
    params = changed(optimizer="sgd", lr=0.1, schedule=numbers)

    def scheduler(optimizer: torch.optim.Optimizer) -> SequentialLR:
        rising = LinearLR(optimizer, start_factor=0.01, total_iters=9)
        falling = CosineAnnealingLR(optimizer, T_max=90, eta_min=0.0001)
        return SequentialLR(optimizer, [rising, falling], [9])

    rates, _ = schedule(params, [0.0] * 10)
    np.testing.assert_allclose(rates, torchs(params, 100, scheduler)[0], rtol=1e-6)
    assert (rates[0, 0], rates.max(), rates[-1, 0]) == pytest.approx((0.001, 0.1, 0.0001))


@pytest.mark.parametrize("name", ["one-cycle", "cosine"])
def test_a_cycle_may_start_and_end_at_zero(name: str):
    numbers = {"name": name, "warmup": 0.3, "start": 0, "end": 0}
    rates, _ = schedule(changed(lr=0.1, schedule=numbers), [0.0] * 10)
    assert (rates[0, 0], rates.max(), rates[-1, 0]) == pytest.approx((0, 0.1, 0))


@pytest.mark.parametrize("name", ["one-cycle", "cosine"])
@pytest.mark.parametrize(
    ("steps", "warmup"), [(10, 0.1), (4, 0.25), (3, 0.1), (3, 0.99), (2, 0.5), (1, 0.3)]
)
def test_a_cycle_copes_with_few_steps(name: str, steps: int, warmup: float):
    numbers = {"name": name, "warmup": warmup}
    rates, _ = schedule(changed(lr=0.1, schedule=numbers), [0.0], steps)
    assert 0.09 < rates.max() <= 0.1
    assert rates[-1, 0] == pytest.approx(0.1 if steps < 3 else 0, abs=1e-6)


def test_plateau_waits_and_then_lowers():
    numbers = {"name": "plateau", "factor": 0.5, "patience": 2}
    params = changed(lr=0.1, pretrained_lr=0.1, schedule=numbers)
    # The second rise is no more than a photo in a hundred thousand, and counts all the same.
    rates, _ = schedule(params, [0.5, 0.6, 0.6, 0.60001, 0.6, 0.6, 0.7], 1)
    assert rates[:, 0] == pytest.approx([0.1] * 6 + [0.05])
    assert rates[:, 1] == pytest.approx([0.01] * 6 + [0.005])


def test_no_schedule_keeps_the_rate():
    rates, _ = schedule(changed(lr=0.1, schedule={"name": "none"}), [0.0] * 3)
    assert set(rates.ravel()) == {0.1}


def rows_of(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(16, 4, generator=generator)
    return rows, (rows[:, :2] > 0.5).float()


def stepped(network: Small, optimization: recipe.Optimization, steps: range) -> list[float]:
    losses = []
    for step in steps:
        rows, targets = rows_of(step)
        losses.append(float(optimization.backward(network(rows), targets)))
        optimization.step()
        optimization.rate.after_epoch(-losses[-1])
    return losses


def started(params: Train, steps: int = 40) -> tuple[Small, recipe.Optimization]:
    torch.manual_seed(0)
    network = Small()
    return network, recipe.Optimization(network, params, rows_of(0)[1], steps)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_learns(name: str):
    rate = {"adadelta": 1, "sgd": 0.1}.get(name, 0.01)
    network, optimization = started(changed(optimizer=name, lr=rate, schedule={"name": "none"}))
    losses = stepped(network, optimization, range(40))
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scheduled", ["none", "plateau", "one-cycle", "cosine"])
def test_any_recipe_goes_on_as_if_never_stopped(name: str, scheduled: str):
    cycled = 0.85 if name != "adadelta" and scheduled == "one-cycle" else None
    params = changed(
        optimizer=name, pretrained_lr=0.5, decay="weights", ema=0.9, momentum=0.95,
        schedule={"name": scheduled, "momentum": cycled, "patience": 1, "factor": 0.7},
    )  # fmt: skip
    network, optimization = started(params)
    losses = stepped(network, optimization, range(40))
    assert len(set(losses)) == 40

    first, half = started(params)
    assert stepped(first, half, range(17)) == losses[:17]
    kept = io.BytesIO()
    torch.save({"network": first.state_dict(), "optimization": half.state_dict()}, kept)
    kept = torch.load(io.BytesIO(kept.getvalue()), weights_only=True)
    second, other = started(params)
    second.load_state_dict(kept["network"])
    other.load_state_dict(kept["optimization"])
    assert stepped(second, other, range(17, 40)) == losses[17:]
    for whole, parted in (
        (network.state_dict(), second.state_dict()),
        (optimization.eval_network.state_dict(), other.eval_network.state_dict()),
    ):
        assert all(torch.equal(whole[key], parted[key]) for key in whole)


def test_the_loss_counts_all_that_is_to_count():
    network, optimization = started(changed(schedule={"name": "none"}))
    rows, targets = rows_of(0)
    answer = network(rows).logits
    aside = answer * -2
    expected = optimization.loss_of(answer, targets) + 0.3 * optimization.loss_of(aside, targets)
    loss = optimization.backward(Output(answer, [(1.0, answer), (0.3, aside)]), targets)
    assert float(loss) == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize(("norm", "is_met"), [(0.0, False), (1e-3, True), (1e3, False)])
def test_gradients_are_clipped_to_a_norm(norm: float, is_met: bool):
    network, optimization = started(changed(clip=norm, optimizer="sgd", momentum=0, lr=1,
                                            weight_decay=0, schedule={"name": "none"}))  # fmt: skip
    before = [weight.clone() for weight in network.parameters()]
    rows, targets = rows_of(0)
    optimization.backward(network(rows), targets)
    gradients = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    optimization.step()
    assert all(weight.grad is None for weight in network.parameters())
    moved = torch.cat(
        [(b - w).flatten() for b, w in zip(before, network.parameters(), strict=True)]
    ).detach()
    length = float(gradients.norm())
    assert float(moved.norm()) == pytest.approx(norm if is_met else length, rel=1e-4)
    assert torch.allclose(moved / moved.norm(), gradients / length, atol=1e-3)


def test_balanced_weights_are_those_of_the_training_rows():
    targets = rows_of(0)[1]
    _, optimization = started(changed(loss={"positive_weight": "balanced"}))
    logits, weights = torch.zeros_like(targets), balancing_weights(targets)
    weighed = torch.where(targets > 0, weights, 1.0).mean() * np.log(2)
    assert float(optimization.loss_of(logits, targets)) == pytest.approx(float(weighed), rel=1e-5)
    assert float(weighed) != pytest.approx(np.log(2))


@pytest.mark.parametrize(("unknown", "counts"), [("ignore", 0), ("negative", 1)])
def test_what_is_unknown_counts_as_it_is_asked_to(unknown: str, counts: float):
    network, optimization = started(changed(loss={"unknown": unknown}))
    rows, targets = rows_of(0)
    known = torch.arange(32).reshape(16, 2) % 3 > 0
    logits = network(rows).logits
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    weights = torch.where(known, 1.0, counts)
    share = float(known.float().mean())
    loss = optimization.backward(Output(logits, [(1.0, logits)]), targets, 1.0, known, share)
    assert float(loss) == pytest.approx(float(((each * weights).sum() / weights.sum()).detach()))


def test_the_average_is_the_formula_running_statistics_included():
    network, optimization = started(changed(ema=0.4, schedule={"name": "none"}, lr=0.1))
    expected = {key: tensor.double() for key, tensor in copy.deepcopy(network.state_dict()).items()}
    for step in range(6):
        stepped(network, optimization, range(step, step + 1))
        decay = min(0.4, (1 + step) / (10 + step))  # reaches 0.4 at the sixth step
        for key, tensor in network.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * tensor
    average = optimization.eval_network
    assert average is not network
    for key, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor.double(), expected[key], atol=1e-6), key
            assert not torch.equal(tensor, network.state_dict()[key]), key
    assert not any(weight.requires_grad for weight in average.parameters())


def test_without_an_average_there_is_no_copy():
    network, optimization = started(changed(ema=0))
    assert optimization.eval_network is network
    assert "average" not in optimization.state_dict()


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["bce", "focal", "asymmetric", "mse"])
def test_a_step_does_not_wait_for_the_gpu(name: str, loss: str):
    balanced = "balanced" if loss == "bce" else "none"
    options = {"name": loss, "alpha": 0.25, "positive_weight": balanced}
    params = changed(optimizer=name, ema=0.9, clip=1.0, precision="bf16", loss=options)
    rows, targets = (tensor.cuda() for tensor in rows_of(0))
    network = Small().cuda()
    known = targets > 0
    optimization = recipe.Optimization(network, params, targets.cpu(), 10, known.cpu())
    optimization.backward(network(rows), targets)
    optimization.step()  # the first one makes the optimiser's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimization.backward(network(rows), targets)
        optimization.step()
        optimization.backward(network(rows), targets, known=known, known_share=0.5)
        optimization.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_automatic_precision_suits_the_device():
    cpu = torch.device("cpu")
    assert precision_for(cpu, "auto") == "fp32"
    assert precision_for(cpu, "bf16") == "bf16"
