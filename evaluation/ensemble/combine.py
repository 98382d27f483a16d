"""From members to an ensemble's files, which are named as a network's are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evaluation.ensemble.fit import Rows, fit
from evaluation.ensemble.measure import measure_all
from evaluation.ensemble.members import DECISION, PREDICTIONS, VALIDATION, Member, stack
from stages.files import write_json
from stages.ingest.records import known_matrix, label_lists, label_matrix
from stages.network.probabilities import probability_table, write_probabilities
from stages.threshold.decision import Decision, write_decision
from stages.threshold.params import Threshold


def combine(
    members: Sequence[Member], params: Threshold, out: Path
) -> tuple[dict[str, float], dict[str, Any]]:
    """Finds the ensemble of ``members``, which have the same rows, and writes it to ``out``.

    Returns:
        What stands in ``weights.json``, by member, and in ``metrics.json``.

    Raises:
        UserError: the search for weights fails.
    """
    labels, validation, test = members[0].labels, members[0].validation, members[0].test
    validated = _rows(validation, labels, stack([member.validation for member in members]))
    tested = stack([member.test for member in members])

    ensemble = fit(validated, params)
    mixed, _ = ensemble.predict(validated.probabilities)
    write_probabilities(_with(mixed, validation), labels, out / VALIDATION)
    how = (params.scope, params.metric, params.shrinkage)
    # Of probabilities that are calibrated.
    write_decision(Decision(labels, ensemble.thresholds.tolist(), *how), out / DECISION)
    mixed, decided = ensemble.predict(tested)
    predicted = label_lists(decided, labels).alias("predicted")
    write_probabilities(_with(mixed, test).with_columns(predicted), labels, out / PREDICTIONS)
    names = [member.name for member in members]
    weights = dict(zip(names, ensemble.weights.tolist(), strict=True))
    write_json(out / "weights.json", weights)

    known = test["labels"].is_not_null()
    with_labels = _rows(test.filter(known), labels, tested[:, known.to_numpy()])
    metrics = measure_all(members, validated, with_labels, params)
    write_json(out / "metrics.json", metrics)
    return weights, metrics


def _rows(table: pl.DataFrame, labels: list[str], probabilities: np.ndarray) -> Rows:
    """The rows of ``table``, whose labels are known, with the members' probabilities of them."""
    known = known_matrix(table["unknown"], labels)
    return Rows(label_matrix(table["labels"], labels), probabilities, known)


def _with(probabilities: np.ndarray, table: pl.DataFrame) -> pl.DataFrame:
    """``table`` with other probabilities."""
    return probability_table(table["id"], table["labels"], probabilities, table["unknown"])
