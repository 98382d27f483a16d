"""ensemble: the probabilities of several networks → one, weighed by what each is worth.

``python -m evaluation.ensemble MEMBER … --out FOLDER``, with a folder for each member (see
``evaluation.ensemble.members``). No stage of
``dvc.yaml``: the members come from several runs of it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.ensemble import members as readers
from evaluation.ensemble import weights
from evaluation.ensemble.members import Member
from stages import UserError, metrics, run
from stages.files import write_json
from stages.ingest.records import label_lists, label_matrix
from stages.intervals import report
from stages.network import probabilities as tables
from stages.params import read
from stages.threshold import decision as decisions
from stages.threshold.decision import Decision
from stages.threshold.fit import find, folds
from stages.threshold.params import Threshold


@dataclass(frozen=True)
class Rows:
    """Rows with known labels: ``truth`` bool (rows, labels), ``probabilities`` float32 (members,
    rows, labels)."""

    truth: np.ndarray
    probabilities: np.ndarray

    def of(self, rows: np.ndarray) -> "Rows":
        return Rows(self.truth[rows], self.probabilities[:, rows])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.ensemble")
    parser.add_argument("members", nargs="+", type=Path, metavar="MEMBER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    params = read(Threshold)
    members = readers.read(options.members)
    labels, validation, test = members[0].labels, members[0].validation, members[0].test
    if len(validation) == 0:
        raise UserError(f"{options.members[0]}: no row validates, so no weight can be found")
    validated = Rows(
        label_matrix(validation["labels"], labels),
        readers.stack([member.validation for member in members]),
    )
    tested = readers.stack([member.test for member in members])

    found, thresholds = fit(validated, params)
    mixed = weights.mix(found, validated.probabilities)
    table = tables.table(validation["id"], validation["labels"], mixed)
    tables.write(table, labels, options.out / readers.VALIDATION)
    how = (params.scope, params.metric, params.shrinkage)
    decision = Decision(labels, thresholds.tolist(), *how)  # of probabilities that are calibrated
    decisions.write(decision, options.out / "decision.json")
    mixed = weights.mix(found, tested)
    predicted = label_lists(decision.decide(mixed), labels).alias("predicted")
    table = tables.table(test["id"], test["labels"], mixed).with_columns(predicted)
    tables.write(table, labels, options.out / readers.PREDICTIONS)
    worth = {member.name: float(w) for member, w in zip(members, found, strict=True)}
    write_json(options.out / "weights.json", worth)

    known = test["labels"].is_not_null().to_numpy()
    tested = Rows(label_matrix(test["labels"].drop_nulls(), labels), tested[:, known])
    figures = measure_all(members, validated, tested, params)
    write_json(options.out / "metrics.json", figures)
    show(figures, worth)


def fit(rows: Rows, params: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """The weights, float64 (members,), and then the thresholds, float64 (labels,)."""
    found = weights.find(rows.truth, rows.probabilities)
    return found, find(rows.truth, weights.mix(found, rows.probabilities), params)


def cross_fit(rows: Rows, params: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and decisions, (rows, labels), none by weights or thresholds that saw its row.

    The parts are those of the stage threshold, so that one member alone is measured as there.
    """
    part = folds(len(rows.truth), params)
    mixed, decided = np.empty(rows.truth.shape, np.float32), np.empty(rows.truth.shape, bool)
    for fold in np.unique(part):
        found, thresholds = fit(rows.of(part != fold), params)
        mixed[part == fold] = weights.mix(found, rows.probabilities[:, part == fold])
        decided[part == fold] = mixed[part == fold].astype(np.float64) >= thresholds
    return mixed, decided


def measure_all(
    members: Sequence[Member], validated: Rows, tested: Rows, params: Threshold
) -> dict[str, Any]:
    """What ``metrics.json`` says: each member, their plain mean and the ensemble, side by side."""

    def measured(choose: Any) -> dict[str, Any]:
        chosen = (Rows(rows.truth, choose(rows.probabilities)) for rows in (validated, tested))
        return measure(*chosen, params)

    return {
        "rows": len(validated.truth),
        "members": {
            member.name: {"networks": member.networks, **measured(lambda p, i=i: p[i : i + 1])}
            for i, member in enumerate(members)
        },
        "equal_weights": measured(lambda p: p.mean(axis=0, keepdims=True)),
        "ensemble": measured(lambda p: p),
    }


def measure(validated: Rows, tested: Rows, params: Threshold) -> dict[str, Any]:
    """The figures of one ensemble, which may be of a single member.

    ``found`` flatters: weights and thresholds were found on these very rows. In ``cross_fitted``
    each fifth of the rows has weights and thresholds found on the other four. ``test`` is there
    where labels of test photos are known; they took no part in finding anything.
    """
    found, thresholds = fit(validated, params)
    truth, mixed = validated.truth, weights.mix(found, validated.probabilities)
    fitted, decided = cross_fit(validated, params)
    figures = {
        "found": {
            "micro_f1": metrics.micro_f1(truth, mixed.astype(np.float64) >= thresholds),
            "log_loss": weights.log_loss(truth, mixed),
        },
        "cross_fitted": {
            **report(truth, fitted, decided, params.bootstrap, params.seed),
            "log_loss": weights.log_loss(truth, fitted),
        },
    }
    if len(tested.truth):
        mixed = weights.mix(found, tested.probabilities)
        decided = mixed.astype(np.float64) >= thresholds
        figures["test"] = report(tested.truth, mixed, decided, params.bootstrap, params.seed)
    return figures


def show(figures: dict[str, Any], worth: dict[str, float]) -> None:
    """Prints a line for each of what ``measure_all`` compared."""
    lines = {
        **{f"{worth[name]:.3f}  {name}": each for name, each in figures["members"].items()},
        "       equal weights": figures["equal_weights"],
        "       ensemble": figures["ensemble"],
    }
    width = max(map(len, lines))
    print(f"{'weight':{width}}  cross-fitted micro-F1    (found)  log loss  test micro-F1")
    for name, each in lines.items():
        fitted, test = each["cross_fitted"], each.get("test")
        print(
            f"{name:{width}}  {_interval(fitted['micro_f1'])}   ({each['found']['micro_f1']:.3f})  "
            f"{fitted['log_loss']:8.4f}  {_interval(test['micro_f1']) if test else '–'}"
        )


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


if __name__ == "__main__":
    run(main)
