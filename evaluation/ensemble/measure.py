"""What an ensemble is worth, beside each of its members and their plain mean."""

from collections.abc import Sequence
from typing import Any

from evaluation.ensemble.fit import Rows, cross_fit, fit
from evaluation.ensemble.members import Member
from evaluation.ensemble.weights import log_loss
from stages import printable
from stages.intervals import Figure, report
from stages.metrics import micro_f1
from stages.threshold.params import Threshold


def measure_all(
    members: Sequence[Member], validated: Rows, tested: Rows, params: Threshold
) -> dict[str, Any]:
    """The content of ``metrics.json``: each member, their plain mean and the ensemble.

    ``tested`` are the test photos whose labels are known.
    """
    return {
        "rows": len(validated.truth),
        "members": {
            member.name: {
                "networks": member.networks,
                **measure(validated.of_member(i), tested.of_member(i), params),
            }
            for i, member in enumerate(members)
        },
        "equal_weights": measure(validated.of_mean(), tested.of_mean(), params),
        "ensemble": measure(validated, tested, params),
    }


def measure(validated: Rows, tested: Rows, params: Threshold) -> dict[str, Any]:
    """The metrics of one ensemble, which may be of a single member.

    ``found`` flatters: weights and thresholds were found on these very rows. In ``cross_fitted``
    each fifth of the rows has weights and thresholds found on the other four. ``test`` is there
    where labels of test photos are known; they took no part in finding anything.
    """
    ensemble = fit(validated, params)
    mixed, decided = ensemble.predict(validated.probabilities)
    fitted, fitted_decided = cross_fit(validated, params)
    truth, known = validated.truth, validated.known
    metrics: dict[str, Any] = {
        "found": {
            "micro_f1": micro_f1(truth, decided, known),
            "log_loss": log_loss(truth, mixed, known),
        },
        "cross_fitted": {
            **report(truth, fitted, fitted_decided, known),
            "log_loss": log_loss(truth, fitted, known),
        },
    }
    if len(tested.truth):
        predicted = ensemble.predict(tested.probabilities)
        metrics["test"] = report(tested.truth, *predicted, tested.known)
    return metrics


def show(weights: dict[str, float], metrics: dict[str, Any]) -> None:
    """Prints a line for each of what ``measure_all`` compared; ``weights`` are by member."""
    lines = {
        **{f"{weights[name]:.3f}  {name}": each for name, each in metrics["members"].items()},
        "       equal weights": metrics["equal_weights"],
        "       ensemble": metrics["ensemble"],
    }
    lines = {printable(name): each for name, each in lines.items()}
    width = max(map(len, lines))
    print(f"{'weight':{width}}  cross-fitted micro-F1    (found)  log loss  test micro-F1")
    for name, each in lines.items():
        fitted, test = each["cross_fitted"], each.get("test")
        print(
            f"{name:{width}}  {_interval(fitted['micro_f1'])}   ({each['found']['micro_f1']:.3f})  "
            f"{fitted['log_loss']:8.4f}  {_interval(test['micro_f1']) if test else '–'}"
        )


def _interval(metric: Figure) -> str:
    low, high = metric["low"], metric["high"]
    interval = "–" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
    return f"{metric['value']:.3f} {interval:14}"
