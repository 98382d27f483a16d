"""judge: the model in use and the one just trained, on the same photos, trained on by neither.

``python -m evaluation.judge CHAMPION --out verdict.json`` compares what stands in this project, the
challenger, with the network in the folder CHAMPION (see ``Champion``). Where the two cannot be
compared the verdict is just ``{"incomparable": reason}``. No stage of ``dvc.yaml``: the champion
comes from another run of it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from evaluation.judge.drift import drift
from evaluation.judge.params import Retrain
from stages import run
from stages.files import write_json
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.intervals import Report, f1_by_label, paired_gain, report
from stages.network import network as networks
from stages.network import probabilities as tables
from stages.network.allocation import keep_freed_memory
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import Words
from stages.network.precision import precision_for
from stages.params import read
from stages.predict.params import Predict
from stages.split import folds
from stages.threshold import decision as decisions
from stages.threshold.decision import Decision
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold
from stages.train.loop import predict

Model = tuple[Classifier, Description, Words | None]  # as stages.network.network loads it


METRICS = ("micro_f1", "macro_f1", "subset_accuracy", "mean_average_precision")


class Incomparable(Exception):
    """The two cannot be compared; the text says why, and what to do about it."""


@dataclass(frozen=True)
class Champion:
    """What a run of the pipeline left in a folder, by the names it has in ``data`` and ``models``.

    Attributes:
        network: folder, as ``stages.network.network`` describes it.
        decision: file, as ``stages.threshold.decision`` describes it.
        records, folds: files; what it was trained on.
    """

    network: Path
    decision: Path
    records: Path
    folds: Path

    @classmethod
    def at(cls, folder: Path) -> "Champion":
        files = (networks.NETWORK, decisions.DECISION, records.RECORDS, folds.FOLDS)
        return cls(*(folder / path.name for path in files))


@dataclass(frozen=True)
class Side:
    """What one of the two says of the rows, with the columns of the challenger's labels.

    ``probabilities`` float32 and ``decided`` bool, both (rows, labels).
    """

    probabilities: np.ndarray
    decided: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.judge")
    parser.add_argument("champion", type=Path, metavar="CHAMPION")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        verdict = compare(Champion.at(options.champion), read(Retrain))
    except Incomparable as reason:
        verdict = {"incomparable": str(reason)}
    write_json(options.out, verdict)


def compare(champion: Champion, params: Retrain) -> dict[str, Any]:
    """The figures of both, by what they say of photos that neither was trained on."""
    names = records.read_label_names()
    rows = unseen(champion)
    truth = records.label_matrix(rows["labels"], names)
    model = networks.load(champion.network)
    theirs = side_of(model, decisions.read(champion.decision), rows, names)
    sides = {"champion": theirs, "challenger": challenger(rows, truth)}
    return {
        "rows": len(rows),
        "metric": params.metric,
        "gain": paired_gain(
            truth,
            *((side.probabilities, side.decided) for side in sides.values()),
            params.metric,
            params.bootstrap,
            params.seed,
        ),
        **{who: measure(truth, side, params) for who, side in sides.items()},
        "labels": by_label(truth, names, sides, params),
        "drift": drift(
            pl.read_parquet(champion.records),
            records.read(),
            records.read_label_names(champion.records),
            names,
            model[1],
        ),
    }


def unseen(champion: Champion) -> pl.DataFrame:
    """The challenger's validation records without those that the champion was trained on.

    Neither a photo's id nor its bytes are among those.

    Raises:
        Incomparable: no row is left.
    """
    theirs = folds.rows_of(pl.read_parquet(champion.records), folds.read(champion.folds), "train")
    rows = folds.rows_of(records.read(), folds.read(), "validation")
    for column in ("id", "sha256"):
        rows = rows.join(theirs, on=column, how="anti", maintain_order="left")
    if len(rows) == 0:
        raise Incomparable(
            "every validation photo of the new model is one that the model in use was trained on, "
            "so the two cannot be compared; keep split.* as it was, or add photos"
        )
    return rows


def challenger(rows: pl.DataFrame, truth: np.ndarray) -> Side:
    """The model of this project; of a fifth of the rows it decides by thresholds found on the rest.

    Its own thresholds were found on these very rows, and would flatter it.
    """
    table = rows.select("id").join(tables.read(), on="id", how="left", maintain_order="left")
    found = decisions.read().calibrate(table["probabilities"].to_numpy())
    return Side(found, cross_fit(truth, found, read(Threshold)))


def side_of(model: Model, decision: Decision, rows: pl.DataFrame, names: list[str]) -> Side:
    """The model in use, with its thresholds; labels that it does not know it never says.

    Raises:
        Incomparable: it wants photos of another size than this project stores.
    """
    network, description, words = model
    store = ImageStore()
    if description.sees_images and description.stored_size != store.size:
        raise Incomparable(
            f"the model in use wants photos of {description.stored_size} pixels, and they are "
            f"stored with {store.size} now (ingest.image_size), so the two cannot be compared"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)
    batch_size = read(Predict).batch_size
    with networks.memory_for("predict.batch_size", batch_size):
        fed = networks.rows_for(description, rows, store, words, targets=None)
        precision = precision_for(device, description.precision)
        found = predict(network, description, fed, batch_size, precision)
    found = decision.calibrate(found)
    decided = decision.decide(found)
    places = {name: place for place, name in enumerate(description.labels)}
    return Side(
        *(
            np.stack(
                [
                    column[:, places[n]] if n in places else np.zeros_like(column[:, 0])
                    for n in names
                ],
                axis=1,
            )
            for column in (found, decided)
        )
    )


def measure(truth: np.ndarray, side: Side, params: Retrain) -> Report:
    found = report(truth, side.probabilities, side.decided, params.bootstrap, params.seed)
    return {metric: found[metric] for metric in METRICS}


def by_label(
    truth: np.ndarray, names: list[str], sides: dict[str, Side], params: Retrain
) -> dict[str, Any]:
    """Of each label, how many of the rows carry it and each side's F1."""
    scores = {
        who: f1_by_label(truth, side.decided, params.bootstrap, params.seed)
        for who, side in sides.items()
    }
    return {
        name: {"count": int(truth[:, i].sum())} | {who: f1[i] for who, f1 in scores.items()}
        for i, name in enumerate(names)
    }


if __name__ == "__main__":
    run(main)
