"""Temperatures and what they mend, on probabilities whose truth is drawn from them."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from stages.threshold import calibration
from stages.threshold.decision import Decision


def drawn(sharpness: float, rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities whose logits are ``sharpness`` times what they should be."""
    random = np.random.default_rng(0)
    logits = random.normal(-1, 2, (rows, 3))
    truth = random.random((rows, 3)) < expit(logits)
    return truth, expit(sharpness * logits).astype(np.float32)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_too_much_and_too_little_confidence(sharpness: float):
    truth, said = drawn(sharpness)
    assert calibration.find_temperature(truth, said) == pytest.approx(sharpness, rel=0.06)


def test_it_is_the_logistic_regression_on_the_logit_alone():
    truth, said = drawn(2.0)
    logits = logit(np.clip(said.astype(float), 1e-7, 1 - 1e-7)).reshape(-1, 1)
    model = LogisticRegression(C=np.inf, fit_intercept=False).fit(logits, truth.ravel())
    expected = 1 / model.coef_.item()
    assert calibration.find_temperature(truth, said) == pytest.approx(expected, rel=1e-3)


def test_scaling_divides_the_logit():
    said = np.array([[0, 0.01, 0.5, 0.9, 1]], np.float32)
    assert calibration.scaled(said, 2.5) == pytest.approx(expit(logit(said) / 2.5), rel=1e-6)
    assert (calibration.scaled(said, 1.0) == said).all()


def test_scaling_mends_the_error_that_it_measures():
    truth, said = drawn(3.0, rows=40_000)
    before = calibration.measure(truth, said)
    after = calibration.measure(truth, calibration.scaled(said, 3.0))
    assert before["expected_calibration_error"] > 0.05
    assert after["expected_calibration_error"] < 0.01
    assert after["log_loss"] < before["log_loss"]
    assert before["log_loss"] == pytest.approx(log_loss(truth.ravel(), said.ravel()), rel=1e-4)


def test_the_reliability_diagram_agrees_with_scikit_learn():
    truth, said = drawn(3.0)
    bins = calibration.reliability(truth, said)
    frequency, probability = calibration_curve(truth.ravel(), said.ravel(), n_bins=15)
    filled = bins["decisions"] > 0
    assert bins["frequency"][filled] == pytest.approx(frequency)
    assert bins["probability"][filled] == pytest.approx(probability)
    assert bins["decisions"].sum() == truth.size


def test_labels_that_are_never_true_leave_the_temperature_in_its_range():
    said = np.full((50, 2), 0.3, np.float32)
    found = calibration.find_temperature(np.zeros((50, 2), bool), said)
    assert calibration.RANGE[0] <= found < 1


def test_a_decision_is_of_calibrated_probabilities():
    decision = Decision(["cat"], [0.6], "global", "micro_f1", 0, temperature=2.0)
    said = np.array([[0.65], [0.75]], np.float32)
    assert decision.calibrate(said) == pytest.approx(expit(logit(said) / 2), rel=1e-6)
    assert decision.apply(said).tolist() == [[False], [True]]
