"""threshold: validation probabilities → temperature and thresholds, and what they are worth."""

from typing import Any

import numpy as np
import polars as pl

from stages import UserError, run
from stages.ingest import records
from stages.ingest.records import known_matrix, label_matrix
from stages.metrics import HEADLINE, pooled
from stages.metrics import write as write_metrics
from stages.network.probabilities import VALIDATION, read_label_names, read_probabilities
from stages.params import read
from stages.split import folds
from stages.threshold import calibration, captions_alone, curves
from stages.threshold.decision import Decision, write_decision
from stages.threshold.evaluate import evaluate
from stages.threshold.figures import points
from stages.threshold.fit import cross_calibrate, cross_fit, find, find_temperature
from stages.threshold.params import Threshold
from stages.vocab import vocabulary


def main() -> None:
    params = read(Threshold)
    table, labels = read_probabilities(), read_label_names()
    if len(table) == 0:
        raise UserError(f"{VALIDATION} has no row; the split left none to validate")
    truth, known = label_matrix(table["labels"], labels), known_matrix(table["unknown"], labels)
    probabilities = table["probabilities"].to_numpy()

    temperature = find_temperature(truth, probabilities, params, known)
    scores = calibration.scaled(probabilities, temperature)
    thresholds = find(truth, scores, params, known).tolist()
    how = (params.scope, params.metric, params.shrinkage)
    decision = Decision(labels, thresholds, *how, temperature)
    write_decision(decision)

    after = cross_calibrate(truth, probabilities, params, known)
    true, *calibrated = pooled(known, truth, probabilities, after)
    by_when = dict(zip(("before", "after"), calibrated, strict=True))
    metrics = evaluate(truth, scores, decision, params, known)
    curves.write(truth, scores, decision, metrics["labels"], known)
    curves.write_reliability(true, by_when)
    metrics["calibration"] = {"temperature": temperature} | {
        when: calibration.measure(true, each) for when, each in by_when.items()
    }
    metrics |= measure_captions_alone(table, labels, params)
    if (bound := calibration.bound(temperature)) is not None:
        metrics["temperature_bound"] = bound
        print(
            f"threshold: warning: the temperature was stopped at {bound:g}, its bound, so that "
            "probabilities mean less than they say; train longer, or on more photos"
        )
    write_metrics("threshold", metrics)
    write_metrics("validation", {name: metrics["cross_fitted"][name]["value"] for name in HEADLINE})
    warn_of_nothing_learnt(metrics)


def measure_captions_alone(
    validation: pl.DataFrame, labels: list[str], params: Threshold
) -> dict[str, Any]:
    """``captions_alone``: how good a plain model of captions is on the photos of ``validation``.

    It learns from the training photos, its decisions are made as those of the network. What it says
    of predict's photos is written; where no training photo has a caption, there is nothing to say.
    """
    photos, parts = records.read(), folds.read()
    train, others = folds.rows_of(photos, parts, "train"), folds.rows_for_predict(photos, parts)
    if train["caption"].count() == 0:
        nothing = np.zeros((0, len(labels)), np.float32)
        captions_alone.write(others["id"].clear(), nothing, nothing > 0, labels)
        return {}
    truth, known = label_matrix(train["labels"], labels), known_matrix(train["unknown"], labels)
    ask = captions_alone.learn(vocabulary.read(), train["caption"], truth, known)

    captions = validation.select("id").join(photos, on="id", how="left", maintain_order="left")
    truth = label_matrix(validation["labels"], labels)
    known = known_matrix(validation["unknown"], labels)
    scores, of_others = ask(captions["caption"]), ask(others["caption"])
    thresholds = find(truth, scores, params, known)
    decided = of_others.astype(np.float64) >= thresholds
    captions_alone.write(others["id"], of_others, decided, labels)
    crossed = cross_fit(truth, scores, params, known)
    return {"captions_alone": points(truth, scores, crossed, known)}


def warn_of_nothing_learnt(metrics: dict[str, Any]) -> None:
    reached, without = metrics["cross_fitted"]["micro_f1"]["value"], metrics["without_model"]
    if reached < without["micro_f1"]:
        labels = "label" if without["labels"] == 1 else f"{without['labels']} labels"
        print(
            f"threshold: warning: micro-F1 is {reached:.3f}; giving every photo the most frequent "
            f"{labels} reaches {without['micro_f1']:.3f}, so the network has learnt nothing of use"
        )


if __name__ == "__main__":
    run(main)
