"""threshold: validation probabilities → temperature and thresholds, and what they are worth."""

from stages import UserError, run
from stages.ingest.records import label_matrix
from stages.metrics import write as write_metrics
from stages.network.probabilities import VALIDATION, read_label_names, read_probabilities
from stages.params import read
from stages.threshold import calibration, curves
from stages.threshold.decision import Decision, write_decision
from stages.threshold.evaluate import evaluate
from stages.threshold.fit import cross_calibrate, find, find_temperature
from stages.threshold.params import Threshold


def main() -> None:
    params = read(Threshold)
    table, labels = read_probabilities(), read_label_names()
    if len(table) == 0:
        raise UserError(f"{VALIDATION} has no row; the split left none to validate")
    truth = label_matrix(table["labels"], labels)
    probabilities = table["probabilities"].to_numpy()

    temperature = find_temperature(truth, probabilities, params)
    scores = calibration.scaled(probabilities, temperature)
    thresholds = find(truth, scores, params).tolist()
    how = (params.scope, params.metric, params.shrinkage)
    decision = Decision(labels, thresholds, *how, temperature)
    write_decision(decision)

    calibrated = {
        "before": probabilities,
        "after": cross_calibrate(truth, probabilities, params),
    }
    curves.write(truth, scores, decision)
    curves.write_reliability(truth, calibrated)
    metrics = evaluate(truth, scores, decision, params)
    metrics["calibration"] = {"temperature": temperature} | {
        when: calibration.measure(truth, each) for when, each in calibrated.items()
    }
    write_metrics("threshold", metrics)


if __name__ == "__main__":
    run(main)
