"""Losses: what scikit-learn counts, or the formula written down in double precision."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from stages.train.distributed import Group
from stages.train.losses import (
    balancing_weights,
    decision_weights,
    least_loss_logits,
    loss_function,
    training_loss,
    unknown_weight,
)
from stages.train.params import Loss

EVEN = {
    "gamma": 2.0,
    "alpha": None,
    "gamma_positive": 0.0,
    "gamma_negative": 4.0,
    "margin": 0.05,
    "positive_weight": "none",
    "unknown": "ignore",
}
EVERY = [
    {"name": "bce"},
    {"name": "mse"},
    {"name": "focal"},
    {"name": "focal", "gamma": 0.5, "alpha": 0.25},
    {"name": "asymmetric"},
    {"name": "asymmetric", "gamma_positive": 0.5, "gamma_negative": 0.5, "margin": 0.0},
    {"name": "asymmetric", "gamma_positive": 1.0, "gamma_negative": 0.5, "margin": 0.2},
    {"name": "asymmetric", "gamma_positive": 0.0, "gamma_negative": 0.0, "margin": 0.0},
]


def loss_of(**changes):
    return loss_function(Loss(**EVEN | changes))


@pytest.fixture
def decisions():
    torch.manual_seed(0)
    return 2 * torch.randn(20, 3), (torch.rand(20, 3) < 0.4).float()


def flat(logits, targets):
    return targets.numpy().ravel(), logits.double().sigmoid().numpy().ravel()


def test_bce_is_the_log_loss(decisions):
    expected = log_loss(*flat(*decisions))
    assert float(loss_of(name="bce")(*decisions)) == pytest.approx(expected, rel=1e-5)


def test_mse_is_the_brier_score(decisions):
    expected = brier_score_loss(*flat(*decisions))
    assert float(loss_of(name="mse")(*decisions)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_loss_is_the_formula(decisions, gamma, alpha):
    def one(true: bool, p: float) -> float:
        right = p if true else 1 - p
        weight = 1 if alpha is None else alpha if true else 1 - alpha
        return -weight * (1 - right) ** gamma * math.log(right)

    loss = loss_of(name="focal", gamma=gamma, alpha=alpha)(*decisions)
    expected = np.mean([one(*each) for each in zip(*flat(*decisions), strict=True)])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("positive", "negative", "margin"), [(0, 4, 0.05), (1, 2, 0), (0.5, 0.5, 0.3), (0, 0, 0)]
)
def test_asymmetric_loss_is_the_formula(decisions, positive, negative, margin):
    def one(true: bool, p: float) -> float:
        shifted = max(p - margin, 0)
        if true:
            return -((1 - p) ** positive) * math.log(p)
        return -(shifted**negative) * math.log(1 - shifted)

    loss = loss_of(
        name="asymmetric", gamma_positive=positive, gamma_negative=negative, margin=margin
    )(*decisions)
    expected = np.mean([one(*each) for each in zip(*flat(*decisions), strict=True)])
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", EVERY)
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_gradients_are_those_of_double_precision_however_sure_the_network_is(options, target):
    values = [-200.0, -50.0, -20.0, -2.0, 0.0, 3.0, 20.0, 50.0, 200.0]

    def gradients(dtype: torch.dtype) -> torch.Tensor:
        logits = torch.tensor([values], dtype=dtype, requires_grad=True)
        loss_of(**options)(logits, torch.full_like(logits, target)).backward()
        return logits.grad

    single = gradients(torch.float32)
    assert single.isfinite().all()
    assert torch.allclose(single.double(), gradients(torch.float64), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("options", [each for each in EVERY if each["name"] != "mse"])
def test_what_is_missed_for_sure_is_still_learnt(options):
    logits = torch.full((1, 1), -50.0, requires_grad=True)
    loss_of(**options)(logits, torch.ones(1, 1)).backward()
    assert float(logits.grad) < -0.2


def test_below_the_margin_what_is_not_true_costs_nothing():
    logits = torch.tensor([[0.04, 0.06]]).logit().requires_grad_()
    loss = loss_of(name="asymmetric", margin=0.05)(logits, torch.zeros(1, 2))
    loss.backward()
    below, above = logits.grad[0]
    assert below == 0
    assert above > 0


@pytest.mark.parametrize("options", EVERY)
def test_a_target_between_stands_for_both_in_its_shares(options):
    def gradients(target: float) -> torch.Tensor:
        logits = torch.tensor([[-3.0, -0.5, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
        loss_of(**options)(logits, torch.full_like(logits, target)).backward()
        return logits.grad

    assert torch.allclose(gradients(0.3), 0.3 * gradients(1.0) + 0.7 * gradients(0.0))


def test_balancing_weights_are_the_counts_of_the_rows():
    targets = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]]).float()
    weights = balancing_weights(targets)
    # On one row of four; on three; on none; on all.
    assert weights.tolist() == pytest.approx([3, 1 / 3, 1, 1])
    assert weights.dtype == torch.float32


def test_balanced_bce_is_the_weighted_log_loss(decisions):
    logits, targets = decisions
    weights = balancing_weights(targets)
    loss = loss_function(Loss(**EVEN | {"name": "bce"}), weights)(logits, targets)
    sample_weights = torch.where(targets > 0, weights, 1.0).numpy().ravel()
    total = log_loss(*flat(logits, targets), sample_weight=sample_weights, normalize=False)
    assert float(loss) == pytest.approx(total / targets.numel(), rel=1e-5)
    # True and not true weigh the same: a network that says 0.5 for all has no gradient to follow.
    even = torch.zeros_like(targets, requires_grad=True)
    loss_function(Loss(**EVEN | {"name": "bce"}), weights)(even, targets).backward()
    assert torch.allclose(even.grad.sum(dim=0), torch.zeros(3), atol=1e-7)


@pytest.fixture
def known():
    torch.manual_seed(1)
    return torch.rand(20, 3) < 0.6


def weights_of(known, unknown: float):
    return decision_weights(known, float(known.float().mean()), unknown)


@pytest.mark.parametrize("options", EVERY)
def test_what_is_unknown_is_left_out_of_the_mean(decisions, known, options):
    logits, targets = decisions
    loss, weights = loss_of(**options), weights_of(known, unknown=0)
    alone = loss(logits[known], targets[known])
    assert float(loss(logits, targets, weights)) == pytest.approx(float(alone), rel=1e-5)
    # Nor does it teach anything.
    logits = logits.clone().requires_grad_()
    loss(logits, targets, weights).backward()
    assert (logits.grad[~known] == 0).all()
    assert logits.grad[known].count_nonzero() > known.sum() / 2


@pytest.mark.parametrize("options", EVERY)
def test_assumed_negative_it_counts_as_one_or_as_a_part_of_one(decisions, known, options):
    logits, targets = decisions
    targets = targets * known
    loss = loss_of(**options)
    whole = loss(logits, targets, weights_of(known, unknown=1))
    assert float(whole) == pytest.approx(float(loss(logits, targets)), rel=1e-5)
    each = torch.stack([loss(*pair) for pair in zip(logits.ravel(), targets.ravel(), strict=True)])
    counted = torch.where(known, 1.0, 0.25).ravel()
    expected = (each * counted).sum() / counted.sum()
    weak = loss(logits, targets, weights_of(known, unknown=0.25))
    assert float(weak) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("unknown", [0, 0.5, 1])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_several_devices_find_the_loss_that_one_does(decisions, known, unknown, size):
    logits, targets = (each[:6] for each in decisions)
    known = known[:6]
    known[2:4] = False  # all of some device's
    loss, share = loss_of(name="bce"), float(known.float().mean())
    losses = []
    for rank in range(size):
        shard = Group(torch.device("cpu"), rank, size).shard(6)
        weights = decision_weights(known[shard.rows], share, unknown)
        losses.append(shard.weight * loss(logits[shard.rows], targets[shard.rows], weights))
    whole = loss(logits, targets, decision_weights(known, share, unknown))
    assert float(torch.stack(losses).mean()) == pytest.approx(float(whole), rel=1e-5)


def test_the_literature_s_weights():
    counts = {
        way: unknown_weight(Loss(**EVEN | {"name": "bce", "unknown": way}), 5)
        for way in ("ignore", "negative", "weak-negative")
    }
    assert counts == {"ignore": 0, "negative": 1, "weak-negative": 0.25}
    assert unknown_weight(Loss(**EVEN | {"name": "bce", "unknown": "weak-negative"}), 1) == 1


def test_a_batch_of_which_nothing_is_known_teaches_nothing():
    weights = decision_weights(torch.zeros(2, 3, dtype=torch.bool), 0.0, 0.0)
    assert weights.tolist() == [[0] * 3] * 2


def test_balancing_weights_count_what_is_known():
    targets = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]).float()
    known = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]).bool()
    # Two known without it to one with it; none to one, and none to one: not to be balanced.
    assert balancing_weights(targets, known).tolist() == [2, 1, 1]
    assert balancing_weights(targets, known, unknown=1.0).tolist() == [3, 3, 3]
    assert balancing_weights(targets, known, unknown=0.5).tolist() == [2.5, 1.5, 1.5]
    everything = torch.ones_like(known)
    assert torch.equal(balancing_weights(targets, everything), balancing_weights(targets))


RATES = torch.tensor([0.0, 0.01, 0.3, 0.8, 1.0])


def carried(rates: torch.Tensor, rows: int = 200) -> torch.Tensor:
    """Targets of which the first rows, as many as the rates say, carry each label."""
    return (torch.arange(rows)[:, None] < (rates * rows).round()).float()


@pytest.mark.parametrize("name", ["bce", "mse"])
def test_the_least_loss_without_a_photo_is_at_the_log_odds_of_the_rates(name: str):
    logits = least_loss_logits(loss_of(name=name), carried(RATES))
    expected = ((200 * RATES + 0.5) / 201).logit()
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("changes", EVERY)
def test_no_other_logit_has_less_loss_without_a_photo(changes):
    loss = loss_of(**changes)
    # The last two rows are the half a row with each label and the half without.
    targets = torch.cat([carried(torch.tensor([0.01, 0.3, 0.8])), torch.eye(2)[:, [0, 0, 0]]])
    weights = torch.ones_like(targets)
    weights[-2:] = 0.5

    def losses(logits: torch.Tensor) -> list[float]:
        answers = logits.expand_as(targets).T
        columns = zip(answers, targets.T, weights.T, strict=True)
        return [float(loss(*column)) for column in columns]

    least = losses(least_loss_logits(loss, targets[:-2]))
    for other in torch.linspace(-8, 8, 33):
        assert all(np.less_equal(least, np.add(losses(other.expand(3)), 1e-6)))


def test_balanced_the_least_loss_without_a_photo_is_at_even_odds():
    targets = carried(torch.tensor([0.05, 0.9]))
    params = Loss(**EVEN | {"name": "bce", "positive_weight": "balanced"})
    logits = least_loss_logits(training_loss(params, targets, None, targets.device), targets)
    assert logits.abs().max() < 0.06  # what half a row more or less makes


def test_the_least_loss_without_a_photo_counts_what_is_unknown_as_the_loss_does():
    targets, loss = carried(torch.tensor([0.1, 0.2, 0.0])), loss_of(name="bce")
    known = torch.ones_like(targets, dtype=torch.bool)
    known[100:] = False
    known[:, 2] = False
    ignored = least_loss_logits(loss, targets, known)
    assert torch.allclose(ignored, torch.tensor([20.5 / 101, 40.5 / 101, 0.5]).logit(), atol=1e-5)
    weak = least_loss_logits(loss, targets, known, 0.5)
    assert torch.allclose(
        weak, torch.tensor([20.5 / 151, 40.5 / 151, 0.5 / 101]).logit(), atol=1e-5
    )
