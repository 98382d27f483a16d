"""How likely it is that a given label is wrong, where a network has not learnt from the photo.

Some photos are given a label that they have not, at a rate of those without it; some are not given
one that they have, at a rate of those with it: noise by class (Natarajan et al. 2013). Where the
network is surest that a label is absent, hardly any photo should carry it; the share of those that
are given it all the same bounds the first rate from above, and likewise the second (Scott et al.
2013). Such photos may be errors, or show what the network does not see: it cannot tell the two
apart.

So a chance has an interval. Its upper end takes all for errors. The estimate and the lower end take
errors to strike labels alike, so that no more of them are errors than with the label for which they
are fewest. With one label alone there is none to compare it with, and the lower end is 0.
"""

from typing import NamedTuple

import numpy as np

LEAST_PHOTOS = 10  # with a label, and without it, for it to be judged
LEAST_SKILL = 0.3  # of the way from the average precision of chance to 1
TAIL, DEVIATIONS = 0.025, 1.96  # of a 95 % interval
SURE = 0.5  # of the photos that a label is given, and of those that it is not: the surest


class Interval(NamedTuple):
    """A rate and its 95 % interval."""

    value: float
    low: float
    high: float


class Chances(NamedTuple):
    """Many, each with its 95 % interval: float64, of one shape."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def is_known(truth: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether a network knows a label well enough to doubt it.

    It does where the lower end of its average precision's 95 % interval (logit interval; Boyd et
    al. 2013) is ``LEAST_SKILL`` of the way from the label's rate, which chance reaches, to 1.

    Args:
        truth: bool, (rows,): at least ``LEAST_PHOTOS`` are true, and as many are not.
        probabilities: float, (rows,), of photos that it has not learnt from.
    """
    from scipy.special import expit, logit
    from sklearn.metrics import average_precision_score

    positives, rate = truth.sum(), truth.mean()
    precision = average_precision_score(truth, probabilities)
    precision = (positives * precision + 0.5) / (positives + 1)  # 1 would have no spread
    spread = DEVIATIONS / np.sqrt(positives * precision * (1 - precision))
    low = expit(logit(precision) - spread)
    return bool(low - rate >= LEAST_SKILL * (1 - rate))


def chances(truth: np.ndarray, probabilities: np.ndarray, known: np.ndarray) -> Chances:
    """The chance that each given label is wrong: float64, (rows, labels); 0 where nothing is known.

    Args:
        truth: bool, (rows, labels), as given; of each label some known ones are true, others not.
        probabilities: float, (rows, labels).
        known: bool, (rows, labels), where anything is given.
    """
    found = Chances(*(np.zeros(truth.shape) for _ in Chances._fields))
    columns = [
        (truth[rows, label], probabilities[rows, label].astype(np.float64))
        for label, rows in enumerate(known.T)
    ]
    rates = [_noise(*column) for column in columns]
    if not rates:
        return found
    # Of each kind those of the label that has the fewest.
    fewest = [min(kind, key=lambda rate: rate.high) for kind in zip(*rates, strict=True)]
    for label, (given, scores) in enumerate(columns):
        rows, own = known[:, label], rates[label]
        shares = _frequencies(given, scores)
        bounded = np.clip(shares, own[0].value, max(own[0].value, 1 - own[1].value))
        found.value[rows, label] = _chance(given, shares, *(rate.value for rate in fewest))
        found.high[rows, label] = _chance(given, shares, *(rate.high for rate in own))
        if len(rates) > 1:
            found.low[rows, label] = _chance(given, bounded, *(rate.low for rate in fewest))
    # One rate's bound may move a chance the other way through the other rate.
    np.maximum(found.high, found.value, out=found.high)
    np.minimum(found.low, found.value, out=found.low)
    return found


def of_first(chances: Chances) -> Interval:
    """The share of photos whose label is wrong, of so many of them: numbers.

    The interval also holds what chance does to so few.

    Args:
        chances: of each of the photos, (photos,); at least one.
    """
    from scipy.stats import binom

    mean = Interval(*(float(np.mean(each)) for each in chances))
    photos = len(chances.value)
    low, high = binom.ppf([TAIL, 1 - TAIL], photos, np.clip([mean.low, mean.high], 0, 1)) / photos
    return Interval(mean.value, float(low), float(high))


def _noise(given: np.ndarray, scores: np.ndarray) -> tuple[Interval, Interval]:
    """Both rates of a label: the shares that are given, and not given, where the network is surest
    of the opposite.
    """
    order, positives = np.argsort(scores, kind="stable"), int(given.sum())
    lowest = given[order][: max(1, round(SURE * (len(given) - positives)))]
    highest = given[order[::-1]][: max(1, round(SURE * positives))]
    return _rate(int(lowest.sum()), len(lowest)), _rate(int((~highest).sum()), len(highest))


def _rate(errors: int, photos: int) -> Interval:
    """The interval of Clopper and Pearson (1934); the estimate (Krichevsky & Trofimov 1981) is
    never 0 or 1.
    """
    from scipy.stats import beta

    low = beta.ppf(TAIL, errors, photos - errors + 1) if errors else 0.0
    high = beta.ppf(1 - TAIL, errors + 1, photos - errors) if errors < photos else 1.0
    return Interval((errors + 0.5) / (photos + 1), float(low), float(high))


def _frequencies(given: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How often the label is given to photos with such a score: isotonic regression (Zadrozny &
    Elkan 2002), float64 (rows,).
    """
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression().fit(scores, given).predict(scores)


def _chance(given: np.ndarray, shares: np.ndarray, wrongly: float, missing: float) -> np.ndarray:
    """By Bayes' rule, from the share of such photos that are given the label, and both rates."""
    has = np.clip((shares - wrongly) / max(1 - wrongly - missing, 1e-9), 0, 1)
    kept = np.where(given, shares, 1 - shares)
    errors = np.where(given, wrongly * (1 - has), missing * has)
    return np.clip(errors / np.maximum(kept, 1e-12), 0, 1)
