"""bundle: network and decision → one folder that is all a program needs, checked on real photos."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from stages import UserError, metrics, run
from stages.bundle import bundle as bundles
from stages.bundle import model as models
from stages.bundle import weights
from stages.files import whole
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.params import Bundle, read
from stages.progress import Progress
from stages.threshold import decision as decisions
from stages.threshold.decision import Decision
from stages.train import description as descriptions
from stages.train import network as networks
from stages.train import probabilities as tables
from stages.train.description import TRANSFORMER, WEIGHTS
from stages.train.tokens import words_of

MB = 2**20  # bytes
BATCH = 64  # photos that are asked about at a time …
ONNX_PHOTOS = 64  # … and that the two runtimes are compared on
ONNX_TOLERANCE = 1e-4  # by which their probabilities may differ


class Answers(NamedTuple):
    """Validation photos with what is true and what the trained network said of them.

    ``rows``: their records, in order; ``truth`` bool and ``probabilities`` float32, calibrated,
    both (rows, labels).
    """

    rows: pl.DataFrame
    truth: np.ndarray
    probabilities: np.ndarray


def main() -> None:
    params, started = read(Bundle), time.perf_counter()
    description, decision = descriptions.read(networks.NETWORK), decisions.read()
    store = ImageStore()
    known = answers(decision)
    with whole(bundles.BUNDLE) as folder:
        folder.mkdir()
        if description.has_transformer:
            shutil.copytree(networks.NETWORK / TRANSFORMER, folder / TRANSFORMER)
        content = {
            "description": asdict(description),
            "decision": asdict(decision),
            "precision": "float32",
            "metrics": {},
            "provenance": {},
        }
        precision, checked = keep_weights(folder, content, known, store, params)
        if params.onnx:
            checked["onnx"] = keep_graph(folder, content, known.rows.head(ONNX_PHOTOS), store)
        content |= {"precision": precision, "metrics": {"validation": checked["after"]}}
        bundles.seal(folder, content)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MB
    seconds = round(time.perf_counter() - started, 1)
    metrics.write("bundle", {"mb": size, "precision": precision, **checked, "seconds": seconds})


def answers(decision: Decision) -> Answers:
    table = tables.read()
    rows = table.select("id").join(records.read(), on="id", how="left", maintain_order="left")
    truth = records.label_matrix(table["labels"], decision.labels)
    return Answers(rows, truth, decision.calibrate(table["probabilities"].to_numpy()))


def keep_weights(
    folder: Path, content: dict[str, Any], known: Answers, store: ImageStore, params: Bundle
) -> tuple[str, dict[str, Any]]:
    """Writes the weights, in half precision where that is asked for or changes next to nothing.

    Returns:
        The precision, and what the check on the validation photos came to.
    """
    for precision in ("float16", "float32") if params.precision == "auto" else (params.precision,):
        weights.write(networks.NETWORK / WEIGHTS, folder / WEIGHTS, precision)
        bundles.seal(folder, content)
        model = models.load(folder)
        checked = compare(model, known, ask(model, known.rows, store))
        if holds(checked, params.tolerance):
            break
    return precision, checked


def keep_graph(
    folder: Path, content: dict[str, Any], rows: pl.DataFrame, store: ImageStore
) -> dict[str, Any]:
    """Writes the ONNX graph, and has both runtimes answer for ``rows`` of the records.

    Where a photo may have no caption, each is asked about without one as well.

    Raises:
        UserError: the network cannot be written as ONNX, or the answers differ.
    """
    from stages.bundle import graph
    from stages.bundle.answer import Answer

    bundle = bundles.read(folder)
    words = words_of(bundle.description, folder)
    answer = Answer.of(bundle, words)
    graph.write(graph.export(answer), folder / bundles.ONNX, folder / WEIGHTS)
    bundles.seal(folder, content)
    if bundle.inputs == "image+caption":
        rows = pl.concat([rows, rows.with_columns(caption=pl.lit(None, pl.String))])
    sides = [models.Model(bundle, words, answer.ask), models.load(folder, "onnx")]
    one, other = (ask(model, rows, store) for model in sides)
    difference = float(np.abs(one - other).max(initial=0))
    if not difference <= ONNX_TOLERANCE:
        raise UserError(
            f"ONNX Runtime gives probabilities that differ by {difference:.2g} from torch's, more "
            f"than {ONNX_TOLERANCE:g}; set bundle.onnx to false, or try another version of either"
        )
    changed = sides[0].decide(one) != sides[0].decide(other)
    return {
        "rows": len(rows),
        "max_difference": difference,
        "changed_decisions": int(changed.sum()),
    }


def ask(model: models.Model, rows: pl.DataFrame, store: ImageStore) -> np.ndarray:
    """What ``model`` says of ``rows`` of the records: float32 (rows, labels)."""
    found = [np.empty((0, len(model.bundle.labels)), np.float32)]
    with Progress("bundle", len(rows), "photos") as progress:
        for part in rows.iter_slices(BATCH):
            photos = store.gather(part["image"].to_numpy())
            found.append(model.probabilities(photos, part["caption"].to_list()))
            progress.advance(len(part))
    return np.concatenate(found)


def compare(model: models.Model, known: Answers, found: np.ndarray) -> dict[str, Any]:
    """How the bundle's answers differ from those of the network as it was trained."""

    def measure(probabilities: np.ndarray) -> dict[str, float]:
        predicted = model.decide(probabilities)
        return {
            "micro_f1": metrics.micro_f1(known.truth, predicted),
            "macro_f1": metrics.macro_f1(known.truth, predicted),
            "mean_average_precision": metrics.mean_average_precision(known.truth, probabilities),
        }

    changed = model.decide(known.probabilities) != model.decide(found)
    return {
        "photos": len(found),
        "before": measure(known.probabilities),
        "after": measure(found),
        "max_difference": float(np.abs(found - known.probabilities).max(initial=0)),
        "changed_decisions": float(changed.mean()) if changed.size else 0.0,
    }


def holds(checked: dict[str, Any], tolerance: float) -> bool:
    differences = [checked["before"][name] - checked["after"][name] for name in checked["before"]]
    return max(*map(abs, differences), checked["changed_decisions"]) <= tolerance


if __name__ == "__main__":
    run(main)
