"""bundle: network and decision → one folder that is all a program needs, checked on real photos."""

import json
import time
from dataclasses import asdict
from typing import Any

from stages import metrics, run
from stages.bundle import card
from stages.bundle.bundle import BUNDLE, CARD, seal
from stages.bundle.keep import keep
from stages.bundle.params import Bundle
from stages.bundle.parity import Answers, answers
from stages.bundle.provenance import provenance
from stages.files import whole, write_text
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.intervals import f1_by_label
from stages.network.allocation import keep_freed_memory
from stages.network.description import read_description
from stages.network.network import NETWORK
from stages.params import load, read
from stages.threshold.decision import Decision, read_decision

MB = 2**20  # bytes


def main() -> None:
    params, started = read(Bundle), time.perf_counter()
    keep_freed_memory()
    description, decision = read_description(NETWORK), read_decision()
    store, expected = ImageStore(), answers(decision)
    trained, threshold = (
        json.loads((metrics.FOLDER / name).read_text("utf-8"))
        for name in ("train.json", "threshold.json")
    )
    with whole(BUNDLE) as folder:
        folder.mkdir()
        content: dict[str, Any] = {
            "description": asdict(description),
            "decision": asdict(decision),
            "metrics": None,  # not yet measured
            "provenance": provenance(records.read(), trained),
        }
        measured = keep(folder, content, expected, store, params)
        content["metrics"] = measured | {
            "validation": validation(expected, decision, threshold),
            "calibration": threshold["calibration"],
        }
        more = {"provenance": content["provenance"], "parameters": trained["parameters"]}
        more["words_known"] = trained.get("words_known")
        text = card.render(description, content["decision"], content["metrics"], **more)
        write_text(folder / CARD, text)
        seal(folder, content)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MB
    seconds = round(time.perf_counter() - started, 1)
    metrics.write("bundle", {"mb": size, **measured, "seconds": seconds})


def validation(expected: Answers, decision: Decision, threshold: dict[str, Any]) -> dict[str, Any]:
    """What a bundle keeps of ``metrics/threshold.json``, the labels' F1 with intervals."""
    params = load()["threshold"]  # what intervals are drawn by is in that file, too
    decided = decision.decide(expected.probabilities)
    drawn = params["bootstrap"], params["seed"]
    each = f1_by_label(expected.truth, decided, *drawn, expected.known)
    intervals = ({name: round(f1[name], 6) for name in ("low", "high")} for f1 in each)
    labels = zip(threshold["labels"].items(), intervals, strict=True)
    return {
        "photos": len(expected.truth),
        "overall": threshold["cross_fitted"],
        "labels": {label: figures | interval for (label, figures), interval in labels},
    }


if __name__ == "__main__":
    run(main)
