"""Labels in doubt where it is known which are wrong, and whether the report's estimate holds.

Errors are put into coco18's labels. A network would take hours to learn from them, so a linear
model of the captions' words doubts them, of five folds. It overlooks what captions do not mention:
the hard case, for these look as errors do. Each repeat puts in other errors. Labels that were wrong
before count as right here, so that without errors put in none is found, however many there are.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from benchmarks.samples import listed
from benchmarks.table import Options, Row, main
from stages.report.label_quality import Judged, expected, in_doubt, left_out, to_work_through

FIRST = (10, 50, 200)  # photos of the list
FEW = 550  # photos, 110 of them in each fold, of which a model learns little
FOLDS = 5
INVERSE_PENALTY = 5.0
Errors = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def flipped(share: float) -> Errors:
    return lambda truth, random: truth ^ (random.random(truth.shape) < share)


def missing(share: float) -> Errors:
    return lambda truth, random: truth & (random.random(truth.shape) >= share)


def swapped(share: float) -> Errors:
    """Of so many of the photos one label is exchanged for another that they have not."""

    def swap(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
        given = truth.copy()
        both = truth.any(axis=1) & ~truth.all(axis=1)
        for row in np.flatnonzero(both & (random.random(len(truth)) < share)):
            for has in (True, False):
                given[row, random.choice(np.flatnonzero(truth[row] == has))] = not has
        return given

    return swap


NONE = "no errors put in"
KINDS: dict[str, Errors] = {
    NONE: flipped(0),
    "1 % flipped": flipped(0.01),
    "5 % flipped": flipped(0.05),
    "5 % missing": missing(0.05),
    "5 % swapped": swapped(0.05),
}


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    if options.shared is None:
        yield Row("wrong labels in doubt", "estimate", "", [], [], "", "takes real captions")
        return
    captions, truth = captions_with_labels(options.shared, options.photos)
    for kind, put_in in KINDS.items():
        yield from rows_of(kind, captions, truth, put_in, options.repeats)
    yield from rows_of(
        f"{len(truth[:FEW])} photos, {NONE}", captions[:FEW], truth[:FEW], KINDS[NONE]
    )


def captions_with_labels(shared: Path, most: int) -> tuple[list[str], np.ndarray]:
    """coco18's captions, ``most`` of them, and their labels, bool (rows, labels)."""
    photos = listed(shared)[:most]
    sets = [set(labels.split()) for _, labels, _ in photos]
    names = sorted(set.union(*sets))
    truth = np.array([[name in labels for name in names] for labels in sets])
    return [caption for *_, caption in photos], truth


def rows_of(
    kind: str, captions: list[str], truth: np.ndarray, put_in: Errors, repeats: int = 1
) -> Iterator[Row]:
    """For each of ``FIRST`` the share of photos whose doubt is right, beside the estimate."""
    found: dict[int, list[tuple[float, float, float, float]]] = {first: [] for first in FIRST}
    lengths, skipped = [], []
    for seed in range(repeats):
        given = put_in(truth, np.random.default_rng(seed))
        judged = judge(captions, given)
        left = left_out(judged)
        doubts = in_doubt(judged, left)
        photos, worst = (
            to_work_through(doubts),
            doubts.unique("id", keep="first", maintain_order=True),
        )
        wrong = (given ^ truth)[worst["image"], worst["label"].cast(pl.Int32)]
        lengths.append(len(photos))
        skipped.append(sum(map(len, left.values())))
        for first in FIRST:
            if first <= len(photos):
                found[first].append((float(wrong[:first].mean()), *expected(photos[:first])))
    of_list = f"{np.mean(lengths):,.0f} photos in doubt, {np.mean(skipped):.0f} labels left out"
    for first, shares in found.items():
        what = f"{kind}: errors among the first {first} photos in doubt"
        if not shares:
            yield Row(what, "estimate", "", [], [], "", of_list)
            continue
        wrong, estimates, lows, highs = map(np.array, zip(*shares, strict=True))
        note = f"interval {lows.mean():.2f}–{highs.mean():.2f}"
        if put_in is not KINDS[NONE]:
            within = int(((lows <= wrong) & (wrong <= highs)).sum())
            note += f", in which are {within} of {len(shares)}"
        yield Row(what, "estimate", "", [*wrong], [*estimates], "", f"{note}; {of_list}")


def judge(captions: list[str], given: np.ndarray) -> Judged:
    """What models of the other folds say of each caption; they have learnt from what is given."""
    words = TfidfVectorizer(min_df=2, ngram_range=(1, 2)).fit_transform(captions)
    probabilities = np.zeros(given.shape, np.float32)
    for train, test in KFold(FOLDS, shuffle=True, random_state=1).split(given):
        for label, column in enumerate(given.T):
            probabilities[test, label] = column[train].mean()
            if 0 < column[train].sum() < len(train):
                model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear")
                known = model.fit(words[train], column[train])
                probabilities[test, label] = known.predict_proba(words[test])[:, 1]
    places = pl.int_range(len(given), dtype=pl.Int32, eager=True).alias("image")
    photos = pl.select(places.cast(pl.String).alias("id"), places, caption=pl.Series(captions))
    names = [str(label) for label in range(given.shape[1])]
    return Judged(photos, given, np.ones_like(given), probabilities, names)


if __name__ == "__main__":
    main(rows, __file__)
