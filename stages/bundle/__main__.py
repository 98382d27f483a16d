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
from stages.bundle.parity import answers
from stages.bundle.provenance import provenance
from stages.files import whole, write_text
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.allocation import keep_freed_memory
from stages.network.description import read_description
from stages.network.network import NETWORK
from stages.params import read
from stages.threshold.decision import read_decision

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
            "validation": validation(len(expected.rows), threshold),
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


def validation(photos: int, threshold: dict[str, Any]) -> dict[str, Any]:
    """What a bundle keeps of ``metrics/threshold.json``, which is of so many photos."""
    return {
        "photos": photos,
        "overall": threshold["cross_fitted"],
        "without_model": {n: v for n, v in threshold["without_model"].items() if n != "labels"},
        "captions_alone": threshold.get("captions_alone"),
        "never_given": threshold["never_given"] or [],
        "labels": threshold["labels"],
    }


if __name__ == "__main__":
    run(main)
