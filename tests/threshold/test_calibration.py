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
    truth, probabilities = drawn(sharpness)
    assert calibration.find_temperature(truth, probabilities) == pytest.approx(sharpness, rel=0.06)


def test_it_is_the_logistic_regression_on_the_logit_alone():
    truth, probabilities = drawn(2.0)
    logits = logit(np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)).reshape(-1, 1)
    model = LogisticRegression(C=np.inf, fit_intercept=False).fit(logits, truth.ravel())
    expected = 1 / model.coef_.item()
    assert calibration.find_temperature(truth, probabilities) == pytest.approx(expected, rel=1e-3)


def test_scaling_divides_the_logit():
    probabilities = np.array([[0, 0.01, 0.5, 0.9, 1]], np.float32)
    assert calibration.scaled(probabilities, 2.5) == pytest.approx(
        expit(logit(probabilities) / 2.5), rel=1e-6
    )
    assert (calibration.scaled(probabilities, 1.0) == probabilities).all()


def test_scaling_mends_the_error_that_it_measures():
    truth, probabilities = drawn(3.0, rows=40_000)
    before = calibration.measure(truth, probabilities)
    after = calibration.measure(truth, calibration.scaled(probabilities, 3.0))
    assert before["expected_calibration_error"] > 0.05
    assert after["expected_calibration_error"] < 0.01
    assert after["log_loss"] < before["log_loss"]
    assert before["log_loss"] == pytest.approx(
        log_loss(truth.ravel(), probabilities.ravel()), rel=1e-4
    )


def test_the_reliability_diagram_agrees_with_scikit_learn():
    truth, probabilities = drawn(3.0)
    bins = calibration.reliability(truth, probabilities)
    frequency, probability = calibration_curve(truth.ravel(), probabilities.ravel(), n_bins=15)
    filled = bins["decisions"] > 0
    assert bins["frequency"][filled] == pytest.approx(frequency)
    assert bins["probability"][filled] == pytest.approx(probability)
    assert bins["decisions"].sum() == truth.size


def test_labels_that_are_never_true_leave_the_temperature_in_its_range():
    probabilities = np.full((50, 2), 0.3, np.float32)
    temperature = calibration.find_temperature(np.zeros((50, 2), bool), probabilities)
    assert calibration.RANGE[0] <= temperature < 1
    assert calibration.bound(temperature) == 0.1


def test_a_temperature_within_its_range_has_no_bound():
    assert [calibration.bound(each) for each in (0.1001, 0.2, 1.0, 9.9)] == [0.1, None, None, None]
    truth = np.random.default_rng(0).random((200, 2)) < 0.5
    assert calibration.bound(calibration.find_temperature(truth, np.where(truth, 0.2, 0.8))) == 10


def test_of_no_decision_the_temperature_is_one_and_nothing_is_measured():
    truth, probabilities = np.zeros(0, bool), np.zeros(0, np.float32)
    assert calibration.find_temperature(truth, probabilities) == 1
    assert set(calibration.measure(truth, probabilities).values()) == {0}


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.3, 10.0])
def test_no_order_is_turned_round_in_single_precision(temperature: float):
    middle = np.random.default_rng(1).random(2000).astype(np.float32)
    ends = np.array([0, 1e-45, 1e-38, 1e-7, 1 - 2**-24, 1], np.float32)
    ordered = np.unique([*ends, *middle, *np.nextafter(middle, np.float32(1))])
    scaled = calibration.scaled(ordered, temperature)
    assert scaled.dtype == np.float32
    assert (np.diff(scaled) >= 0).all()
    assert (scaled[0], scaled[-1]) == (0, 1)


def test_a_decision_is_of_calibrated_probabilities():
    decision = Decision(["cat"], [0.6], "global", "micro_f1", 0, temperature=2.0)
    probabilities = np.array([[0.65], [0.75]], np.float32)
    assert decision.calibrate(probabilities) == pytest.approx(
        expit(logit(probabilities) / 2), rel=1e-6
    )
    assert decision.apply(probabilities).tolist() == [[False], [True]]
