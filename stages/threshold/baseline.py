"""What the plain model of captions is worth, beside the network."""

from typing import Any

import numpy as np
import polars as pl

from stages.ingest import records
from stages.ingest.records import known_matrix, label_matrix
from stages.split import folds
from stages.threshold import captions_alone
from stages.threshold.figures import points
from stages.threshold.fit import cross_fit, find
from stages.threshold.params import Threshold
from stages.vocab import vocabulary


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
