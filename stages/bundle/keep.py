"""What is kept of a network: its weights and its graph, checked as who loads them finds them."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from stages import UserError
from stages.bundle import half_precision, parity
from stages.bundle.bundle import ONNX, read_bundle, seal
from stages.bundle.model import Model, load_model
from stages.bundle.params import Bundle
from stages.bundle.parity import Answers
from stages.ingest.images import ImageStore
from stages.network.description import TRANSFORMER, WEIGHTS, Description
from stages.network.network import NETWORK
from stages.network.tokens import words_of
from stages.threshold.decision import Decision

BATCH = 64  # photos that are asked about at a time
ONNX_PHOTOS = 64  # that the two runtimes are compared on …
ONNX_TOLERANCE = 1e-4  # … and what their probabilities may differ by


def keep(
    folder: Path, content: dict[str, Any], expected: Answers, store: ImageStore, params: Bundle
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
    model, compared = keep_weights(folder, content, expected, store, params)
    alone = None
    if description.inputs == "image+caption":
        probabilities = model.ask(parity.without_captions(expected.rows), store, BATCH, "bundle")
        alone = parity.measure(decision, expected, probabilities)
    onnx = keep_graph(folder, content, expected.rows, store) if params.onnx else None
    return {"weights": compared, "without_captions": alone, "onnx": onnx}


def keep_weights(
    folder: Path, content: dict[str, Any], expected: Answers, store: ImageStore, params: Bundle
) -> tuple[Model, dict[str, Any]]:
    """Writes the weights, in half precision where that is asked for or changes next to nothing."""
    wish = params.precision
    for precision in ("float16", "float32") if wish == "auto" else (wish,):
        half_precision.write(NETWORK / WEIGHTS, folder / WEIGHTS, precision)
        seal(folder, content)
        model = load_model(folder)
        probabilities = model.ask(expected.rows, store, BATCH, "bundle")
        compared = parity.compare(Decision(**content["decision"]), expected, probabilities)
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
