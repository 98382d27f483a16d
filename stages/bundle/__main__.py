"""bundle: network and decision → one folder that is all a program needs, checked on real photos."""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError, metrics, run
from stages.bundle import card, half_precision, parity
from stages.bundle.bundle import BUNDLE, CARD, ONNX, read_bundle, seal
from stages.bundle.model import Model, load_model
from stages.bundle.params import Bundle
from stages.bundle.parity import Answers
from stages.bundle.provenance import provenance
from stages.files import whole, write_text
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.intervals import f1_by_label
from stages.network.allocation import keep_freed_memory
from stages.network.description import TRANSFORMER, WEIGHTS, Description, read_description
from stages.network.network import NETWORK
from stages.network.tokens import words_of
from stages.params import load, read
from stages.threshold.decision import Decision, read_decision

MB = 2**20  # bytes
BATCH = 64  # photos that are asked about at a time
ONNX_PHOTOS = 64  # that the two runtimes are compared on …
ONNX_TOLERANCE = 1e-4  # … and what their probabilities may differ by


def main() -> None:
    params, started = read(Bundle), time.perf_counter()
    keep_freed_memory()
    description, decision = read_description(NETWORK), read_decision()
    store, known = ImageStore(), parity.answers(decision)
    trained, threshold = (
        json.loads((metrics.FOLDER / name).read_text("utf-8"))
        for name in ("train.json", "threshold.json")
    )
    with whole(BUNDLE) as folder:
        folder.mkdir()
        content = {
            "description": asdict(description),
            "decision": asdict(decision),
            "metrics": {},
            "provenance": provenance(records.read(), trained),
        }
        measured = keep(folder, content, known, store, params)
        content["metrics"] = measured | {
            "validation": validation(known, decision, threshold),
            "calibration": threshold["calibration"],
        }
        more = {"provenance": content["provenance"], "parameters": trained["parameters"]}
        text = card.render(description, content["decision"], content["metrics"], **more)
        write_text(folder / CARD, text)
        seal(folder, content)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MB
    seconds = round(time.perf_counter() - started, 1)
    metrics.write("bundle", {"mb": size, **measured, "seconds": seconds})


def keep(
    folder: Path, content: dict[str, Any], known: Answers, store: ImageStore, params: Bundle
) -> dict[str, Any]:
    """Writes what the network is made of, and checks it as who loads it will find it.

    Returns:
        ``weights``: their precision and what was compared; ``without_captions``: the metrics when
        all captions are left out, null where that says nothing; ``onnx``: what was compared,
        null without it.
    """
    description = Description(**content["description"])
    decision = Decision(**content["decision"])
    if description.has_transformer:
        (folder / TRANSFORMER).mkdir()  # not copied with its rights: DVC's may be read-only
        for file in (NETWORK / TRANSFORMER).iterdir():
            shutil.copyfile(file, folder / TRANSFORMER / file.name)
    model, compared = keep_weights(folder, content, known, store, params)
    alone = None
    if description.inputs == "image+caption":
        probabilities = model.ask(parity.without_captions(known.rows), store, BATCH, "bundle")
        alone = parity.measure(decision, known.truth, probabilities)
    onnx = keep_graph(folder, content, known.rows, store) if params.onnx else None
    return {"weights": compared, "without_captions": alone, "onnx": onnx}


def keep_weights(
    folder: Path, content: dict[str, Any], known: Answers, store: ImageStore, params: Bundle
) -> tuple[Model, dict[str, Any]]:
    """Writes the weights, in half precision where that is asked for or changes next to nothing."""
    wish = params.precision
    for precision in ("float16", "float32") if wish == "auto" else (wish,):
        half_precision.write(NETWORK / WEIGHTS, folder / WEIGHTS, precision)
        seal(folder, content)
        model = load_model(folder)
        probabilities = model.ask(known.rows, store, BATCH, "bundle")
        compared = parity.compare(Decision(**content["decision"]), known, probabilities)
        if parity.holds(compared, params.tolerance):
            break
    return model, {"precision": precision, **compared}


def keep_graph(
    folder: Path, content: dict[str, Any], rows: pl.DataFrame, store: ImageStore
) -> dict[str, Any]:
    """Writes the ONNX graph, and has both runtimes answer for a few of ``rows``.

    Where a photo may have no caption, each is asked about without one as well.

    Raises:
        UserError: the network cannot be written as ONNX, or the answers differ.
    """
    from stages.bundle import graph
    from stages.bundle.inference import InferenceModule

    bundle = read_bundle(folder)
    words = words_of(bundle.description, folder)
    answer = InferenceModule.of(bundle, words)
    graph.write(graph.export(answer), folder / ONNX, folder / WEIGHTS)
    seal(folder, content)
    rows = rows.head(ONNX_PHOTOS)
    if bundle.inputs == "image+caption":
        rows = pl.concat([rows, parity.without_captions(rows)])
    sides = Model(bundle, words, answer.ask), load_model(folder, "onnx")
    decision = bundle.content.decision
    probabilities = (side.ask(rows, store, BATCH, "bundle") for side in sides)
    differences = parity.differences(decision, *probabilities)
    if not differences["max_difference"] <= ONNX_TOLERANCE:
        raise UserError(
            "ONNX Runtime gives probabilities that differ by "
            f"{differences['max_difference']:.2g} from PyTorch's, more than {ONNX_TOLERANCE:g}; "
            "set bundle.onnx to false, or try another version of either"
        )
    return {"rows": len(rows), **differences}


def validation(known: Answers, decision: Decision, threshold: dict[str, Any]) -> dict[str, Any]:
    """What a bundle keeps of ``metrics/threshold.json``, the labels' F1 with intervals."""
    params = load()["threshold"]  # what intervals are drawn by is in that file, too
    decided = decision.decide(known.probabilities)
    each = f1_by_label(known.truth, decided, params["bootstrap"], params["seed"])
    intervals = ({name: round(f1[name], 6) for name in ("low", "high")} for f1 in each)
    labels = zip(threshold["labels"].items(), intervals, strict=True)
    return {
        "photos": len(known.truth),
        "overall": threshold["cross_fitted"],
        "labels": {label: figures | interval for (label, figures), interval in labels},
    }


if __name__ == "__main__":
    run(main)
