"""Metrics of a decision, with 95 % intervals: where they would lie with other photos of the kind.

Photos are what is drawn; the network and its thresholds stay as they are. Labels of one photo may
depend on each other in any way: all of them make one observation.

Each metric is a figure of the photos' counts or ranks. By how much a photo moves it (the jackknife,
Tukey 1958) gives its standard error, and Wilson's interval (1927) for a share of as many
observations as have that error (Korn and Graubard 1998) keeps within 0 and 1 what is near them.
F1 of one label is a share by another name: F1 = 2J / (1 + J), and J, the hits among the photos that
carry the label or are given it, is of independent photos.

What few positives do to the means of labels is taken off before the interval is laid: F1 is too low
by its curvature (Quenouille 1956), average precision too high, since a positive counts itself among
those above it. Where too little is known there is no interval: ``low`` and ``high`` are None, and
``reason`` says why. ``python -m benchmarks.coverage`` measures how often intervals hold the truth.

``known`` is bool (rows, labels), the decisions of which the truth is known; None: all. The others
count nowhere, as in ``stages.metrics``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

import numpy as np

from stages.metrics import Ranking, average_precisions, rankings, ratio

NORMAL = 1.959963984540054  # standard errors on either side, for 95 %
FEWEST_PHOTOS = 40  # that say something of the metric
FEWEST_OF_LABEL = 8  # photos that carry a label or are given it
FEWEST_RIGHT = 3  # photos that are all right; of fewer, Wilson's interval holds in 84 to 99 %
FEWEST_DIFFERENT = 20  # photos on which two answers differ
LESS = 0.6  # weight of one photo less beside one more: the first overstates the error, as Efron and
# Stein (1981) prove, the second understates it
FEWEST_POSITIVES = 5  # of labels, whose average precision is looked at
MOST_UNTOLD = 0.25  # standard errors, by which labels that are too rare may move a mean


class Figure(TypedDict):
    """A metric with its 95 % interval; ``reason`` is there where there is none, and says why."""

    value: float
    low: float | None
    high: float | None
    reason: NotRequired[str]


Report = dict[str, Figure]  # by metric
Answer = tuple[np.ndarray, np.ndarray]  # probabilities float, decisions bool: (rows, labels)


def report(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray | None = None,
) -> Report:
    """Each metric with its interval.

    Args:
        truth, predicted: bool (rows, labels).
        probabilities: float (rows, labels).
    """
    [metrics] = reports(truth, probabilities, [predicted], known)
    return metrics


def reports(
    truth: np.ndarray,
    probabilities: np.ndarray,
    decisions: Sequence[np.ndarray],
    known: np.ndarray | None = None,
) -> list[Report]:
    """``report`` of each of ``decisions``, bool (rows, labels); what ranks is looked at once."""
    ranked = _ranked(truth, probabilities, known)
    return [
        {name: _figure(each) for name, each in (_decided(truth, predicted, known) | ranked).items()}
        for predicted in decisions
    ]


def paired_gain(
    truth: np.ndarray,
    one: Answer,
    other: Answer,
    metric: str,
    known: np.ndarray | None = None,
) -> Figure:
    """By how much ``other`` is above ``one`` in a metric, with its interval.

    Both are of the same photos, so what makes photos hard for both does not widen the interval.

    Args:
        truth: bool (rows, labels).
        metric: one of those that ``report`` has.
    """
    # Ranking takes most of the time, and only one metric asks for it.
    place, estimates = (0, _ranked) if metric == "mean_average_precision" else (1, _decided)
    below, above = (estimates(truth, answer[place], known)[metric] for answer in (one, other))
    value = above.value - below.value
    influence = above.influence - below.influence
    different = _different(truth, one[place], other[place], metric, known)
    if below.photos < FEWEST_PHOTOS:
        return _none(value, _too_few(below.photos))
    if different < FEWEST_DIFFERENT:
        few = f"they differ on {_photos(different)}, and {FEWEST_DIFFERENT} are needed"
        return _none(value, few)
    gain, error = above.middle - below.middle, _error(influence)
    few = below.few and above.few  # where one has enough, so has the gain
    if few or error == 0:
        return _none(value, few or "wherever they differ, it counts alike")
    untold = max(above.untold, below.untold) * abs(value)
    ends = gain - NORMAL * error, gain + NORMAL * error
    return _checked(value, *ends, untold / error, below.labels)


def _different(
    truth: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    metric: str,
    known: np.ndarray | None,
) -> int:
    """Of how many rows the two say what counts otherwise for the metric."""
    if metric == "subset_accuracy":
        wrong = ((answer != truth) & (True if known is None else known) for answer in (one, other))
        below, above = (each.any(axis=1) for each in wrong)
        return int(np.count_nonzero(below != above))
    return int(((one != other) & (True if known is None else known)).any(axis=1).sum())


def f1_by_label(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None = None
) -> list[Figure]:
    """F1 of each label with its interval; both bool (rows, labels)."""
    if known is not None:
        truth, predicted = truth & known, predicted & known
    hits, either = (truth & predicted).sum(axis=0), (truth | predicted).sum(axis=0)
    return [_f1_of_label(int(hit), int(seen)) for hit, seen in zip(hits, either, strict=True)]


def _f1_of_label(hits: int, either: int) -> Figure:
    share = hits / max(either, 1)
    value = 2 * share / (1 + share)
    if either < FEWEST_OF_LABEL:
        return _none(
            value,
            f"{_photos(either)} that carry it or are given it, and {FEWEST_OF_LABEL} are needed",
        )
    low, high = (2 * end / (1 + end) for end in _wilson(share, either))
    return {"value": value, "low": low, "high": high}


@dataclass(frozen=True)
class _Estimate:
    """A metric of photos drawn from many.

    Attributes:
        middle: the value without what few positives do to it.
        influence: float (rows,), by how much each photo moves it.
        photos: how many say something of it.
        untold: the share of labels that are too rare to say anything.
        labels: how many those are, for people.
        few: what else is too little, for people; empty where nothing is.
    """

    value: float
    middle: float
    influence: np.ndarray
    photos: int
    untold: float = 0.0
    labels: str = ""
    few: str = ""


def _figure(of: _Estimate) -> Figure:
    if of.photos < FEWEST_PHOTOS:
        return _none(of.value, _too_few(of.photos))
    error, middle = _error(of.influence), min(max(of.middle, 0.0), 1.0)
    if of.few:
        return _none(of.value, of.few)
    if error == 0:  # all is right, or all wrong: photos are the observations
        low, high = _wilson(of.value, of.photos)
        return {"value": of.value, "low": low, "high": high}
    low, high = _wilson(middle, max(middle * (1 - middle) / error**2, 1.0))
    return _checked(of.value, low, high, of.untold * of.value / error, of.labels)


def _checked(value: float, low: float, high: float, untold: float, labels: str) -> Figure:
    """The interval, unless the labels of which nothing is told are too many; in standard errors.

    It holds the value, too, which few positives may have put beyond it.
    """
    if untold > MOST_UNTOLD:
        return _none(value, labels)
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _none(value: float, reason: str) -> Figure:
    return {"value": value, "low": None, "high": None, "reason": reason}


def _too_few(photos: int) -> str:
    return f"{_photos(photos)} that count, and {FEWEST_PHOTOS} are needed"


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"


def _error(influence: np.ndarray) -> float:
    """The standard error of what is moved by photos so."""
    rows = len(influence)
    return float(np.sqrt(np.square(influence).sum() * rows / max(rows - 1, 1)))


def _wilson(share: float, observations: float) -> tuple[float, float]:
    """The interval of a share of so many independent observations (Wilson 1927)."""
    square = NORMAL**2 / observations
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # Rounded, neither end is to be beyond the share itself.
    return max(min(float(middle - half), share), 0.0), min(max(float(middle + half), share), 1.0)


def by_label(
    truth: np.ndarray,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    known: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Count, precision, recall, F1 and average precision of each label: (labels,) arrays.

    Of a label that no row carries there is only the count; the others are NaN. With ``known``
    there is also ``known``, of how many rows the label is known.
    """
    if known is not None:
        truth, predicted = truth & known, predicted & known
    hits, positives, chosen = (part.sum(axis=0) for part in (truth & predicted, truth, predicted))
    figures = {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, positives),
        "f1": ratio(2 * hits, chosen + positives),
        "average_precision": average_precisions(truth, probabilities, known),
    }
    columns = {"count": positives}
    columns |= {name: np.where(positives > 0, each, np.nan) for name, each in figures.items()}
    return columns if known is None else columns | {"known": known.sum(axis=0)}


def _decided(
    truth: np.ndarray, predicted: np.ndarray, known: np.ndarray | None
) -> dict[str, _Estimate]:
    """The metrics of decisions."""
    wrong, counted = truth != predicted, np.ones_like(truth) if known is None else known
    wrong, truth, predicted = wrong & counted, truth & counted, predicted & counted
    some = counted.any(axis=0)
    hits = (truth & predicted).astype(float)
    estimates = {}
    for name, errors, weight in (
        ("precision", wrong & predicted, 1.0),
        ("recall", wrong & truth, 1.0),
        ("f1", wrong, 0.5),
    ):
        missed = weight * errors
        estimates[f"micro_{name}"] = _ratio(hits.sum(axis=1), (hits + missed).sum(axis=1))
        estimates[f"macro_{name}"] = _mean_of_ratios(hits[:, some], missed[:, some])
    rows = counted.any(axis=1).astype(float)
    right = rows - wrong.any(axis=1)
    estimates["subset_accuracy"] = replace(_ratio(right, rows), few=_few_right(int(right.sum())))
    estimates["hamming_loss"] = _ratio(wrong.mean(axis=1), counted.mean(axis=1))
    return estimates


def _few_right(photos: int) -> str:
    """What is too little for subset accuracy, of so many photos that are all right."""
    if photos >= FEWEST_RIGHT:
        return ""
    are = "is" if photos == 1 else "are"
    return f"{_photos(photos)} {are} all right, and {FEWEST_RIGHT} are needed"


def _ratio(parts: np.ndarray, wholes: np.ndarray) -> _Estimate:
    """Σ parts / Σ wholes, both float (rows,)."""
    whole = wholes.sum()
    value = float(ratio(parts.sum(), whole))
    influence = ratio(parts - value * wholes, whole - wholes)
    return _Estimate(value, value, influence, int(np.count_nonzero(wholes)))


def _mean_of_ratios(hits: np.ndarray, missed: np.ndarray) -> _Estimate:
    """Mean over the labels of Σ hits / Σ (hits + missed); float (rows, labels) each."""
    hit, wholes = hits.sum(axis=0), hits.sum(axis=0) + missed.sum(axis=0)
    of_labels = ratio(hit, wholes)
    labels, absent = len(wholes), np.count_nonzero(wholes == 0)
    # Hits are 1, and what is missed is of one weight.
    weight = missed.max(initial=0.0)
    gain, loss = ratio(1 - of_labels, wholes - 1), ratio(of_labels, wholes - weight)
    influence = (hits @ gain - missed @ loss) / labels
    bias = of_labels * np.square(missed).sum(axis=0) - (1 - of_labels) * hit
    middle = of_labels.mean() - ratio(bias, wholes * wholes).mean()
    said = hits.any(axis=1) | missed.any(axis=1)
    reason = f"{absent:,} of {labels:,} labels are on too few photos to say anything"
    return _Estimate(
        float(of_labels.mean()),
        float(middle),
        influence,
        int(np.count_nonzero(said)),
        absent / labels,
        reason,
    )


def _ranked(
    truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None
) -> dict[str, _Estimate]:
    """The metrics of rankings."""
    rows, labels = truth.shape
    ranked = [each for each in rankings(truth, probabilities, known) if each.truth.any()]
    told = [each for each in ranked if each.truth.sum() > 1]
    influence, middles = np.zeros(rows), []
    for each in told:
        middle, moved = _average_precision(each)
        middles.append(middle)
        influence[each.order] += moved / len(told)
    some = labels if known is None else int(known.any(axis=0).sum())
    value = float(np.mean([each.average_precision() for each in ranked])) if ranked else 0.0
    return {
        "mean_average_precision": _Estimate(
            value,
            float(np.mean(middles)) if told else value,
            influence,
            int((truth if known is None else truth & known).any(axis=1).sum()),
            (some - len(told)) / max(some, 1),
            f"{some - len(told):,} of {some:,} labels have fewer than two positives",
            _few_positives([int(each.truth.sum()) for each in told]),
        )
    }


def _few_positives(counts: list[int]) -> str:
    """What is too little for mean average precision, of labels with so many positives each.

    What is left of a label's bias falls as its positives grow, the error of the mean as the root of
    all of them does: more labels need more positives each.
    """
    needed = max(FEWEST_POSITIVES, int(np.ceil(np.sqrt(len(counts)))))
    there = len(counts) / sum(1 / count for count in counts) if counts else 0.0
    if there >= needed:
        return ""
    return f"labels have {there:.1f} positives (harmonic mean), and {needed} are needed"


def _average_precision(ranking: Ranking) -> tuple[float, np.ndarray]:
    """Average precision without its bias, and by how much each ranked row moves it: float (rows,).

    A positive's precision is that of the others above it, as it would be in a large sample. Where
    there are none it is taken for 1, which is too much. Half of the photos would add as much to
    that as there is (Quenouille 1956): with z others above, all would be gone once in 2ᶻ times.
    """
    truth, ends = ranking.truth, ranking.ends
    places = np.flatnonzero(truth)
    positives, group = len(places), np.searchsorted(ends, places)
    hits = np.cumsum(truth)[ends][group] - 1
    misses = ends[group] - hits
    # A positive has but the others beside it: so many more would be above it in a large sample.
    scale = positives / (positives - 1)
    precision = _precision(scale * hits, misses)
    middle = precision.mean()
    by_hit, by_miss = np.zeros((2, len(truth)))
    # What a row does to the positives below it, and to those of the same score but itself.
    more, less = _precision(scale * (hits + 1), misses), _precision(scale * (hits - 1), misses)
    by_hit[places] = _change(more, precision, np.where(hits > 0, less, precision))
    more, less = _precision(scale * hits, misses + 1), _precision(scale * hits, misses - 1)
    by_miss[places] = _change(more, precision, np.where(misses > 0, less, precision))
    starts = np.concatenate([[0], ends[:-1] + 1])[np.searchsorted(ends, np.arange(len(truth)))]
    below_hit, below_miss = (each[::-1].cumsum()[::-1][starts] for each in (by_hit, by_miss))
    moved = np.where(truth, below_hit - by_hit, below_miss) / positives
    moved[places] += (precision - middle) / positives
    # One photo fewer leaves one positive fewer.
    moved[places] *= positives / (positives - 1)
    return float(middle), moved


def _precision(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Precision where so many others are above: 1 where there are none, and less its bias."""
    above = hits + misses
    precision = np.where(above > 0, hits / np.maximum(above, 1), 1.0)
    corrected: np.ndarray = precision - (1 - precision) * 0.5 ** np.maximum(above, 0)
    return corrected


def _change(more: np.ndarray, precision: np.ndarray, less: np.ndarray) -> np.ndarray:
    """What a row does to precision, by what one more and one less would."""
    change: np.ndarray = (1 - LESS) * (more - precision) + LESS * (precision - less)
    return change
