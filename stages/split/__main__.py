"""split: records → the part that each labelled photo plays, and how equal the parts are."""

import numpy as np
import polars as pl

from stages import UserError, printable, run
from stages.ingest import records
from stages.metrics import write as write_metrics
from stages.params import PARAMS, read
from stages.split import folds
from stages.split.duplicates import SAME, linked, numbered, photos_in
from stages.split.equality import gaps, origin, separation, sizes
from stages.split.params import Split
from stages.split.parts import HOLDOUT, assign, check_parts, check_photos
from stages.split.remarks import remarks, summary


def main() -> None:
    params = read(Split)
    table, names = records.read(), records.read_label_names()
    if not names:
        raise UserError(
            f"no photo in {records.RECORDS} carries a label; see the options of the source in "
            f"{PARAMS}"
        )
    in_test = pl.col("subset") == "test"
    photos, test = table.filter(~in_test, pl.col("labels").is_not_null()), table.filter(in_test)
    check_photos(photos, test, params)
    labels = records.label_matrix(photos["labels"], names)
    known = records.known_matrix(photos["unknown"], names)
    keys = numbered(photos)
    fold, units = assign(photos, labels, known, list(keys.values()), params)
    check_parts(fold, units, photos, params)
    held = fold == HOLDOUT
    part = np.select([held, fold == params.fold], [folds.HOLDOUT, "validation"], "train")
    folds.write(pl.DataFrame({"id": photos["id"], "fold": fold, "part": part}, schema=folds.SCHEMA))
    same = linked([keys[name] for name in SAME if name in keys]) if "group" in keys else units
    metrics = {
        **sizes(part, labels, known, same),
        "photos_that_test_has_too": photos_in(photos, test),
        **separation(photos, fold, keys, same, test),
        **origin(photos, part, params.by),
        **gaps(
            labels[~held],
            None if known is None else known[~held],
            part[~held] == "validation",
            units[~held],
            names,
            params.seed,
        ),
    }
    if held.any():  # beside the rates of all others
        metrics["holdout"] = gaps(labels, known, held, units, names, params.seed)
    write_metrics("split", metrics)
    for line in (summary(metrics), *remarks(metrics)):
        print(printable(f"split: {line}"))


if __name__ == "__main__":
    run(main)
