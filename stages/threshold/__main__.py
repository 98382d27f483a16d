"""threshold: validation probabilities → temperature and thresholds, and what they are worth."""

from typing import Any

from stages import UserError, run
from stages.ingest.records import known_matrix, label_matrix
from stages.metrics import HEADLINE, pooled
from stages.metrics import write as write_metrics
from stages.network.probabilities import VALIDATION, read_label_names, read_probabilities
from stages.params import read
from stages.threshold import calibration, curves
from stages.threshold.baseline import measure_captions_alone
from stages.threshold.decision import Decision, write_decision
from stages.threshold.evaluate import evaluate
from stages.threshold.fit import cross_calibrate, find, find_temperature
from stages.threshold.params import Threshold


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
