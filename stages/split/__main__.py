"""split: records → the part that each labelled photo plays, and how equal the parts are."""

import numpy as np
import polars as pl

from stages import UserError, run
from stages.ingest import records
from stages.metrics import write as write_metrics
from stages.params import PARAMS, read
from stages.split import folds
from stages.split.duplicates import photos_in, same_photo
from stages.split.equality import gaps, sizes
from stages.split.params import Split
from stages.split.parts import assign, check_count, check_parts


def main() -> None:
    params = read(Split)
    table, names = records.read(), records.read_label_names()
    if not names:
        raise UserError(
            f"no photo in {records.RECORDS} carries a label; see the options of the source in "
            f"{PARAMS}"
        )
    in_test = pl.col("subset") == "test"
    photos = table.filter(~in_test, pl.col("labels").is_not_null())
    check_count(len(photos), params)
    labels, groups = records.label_matrix(photos["labels"], names), same_photo(photos)
    fold = assign(labels, photos["delivery"].to_numpy(), groups, params)
    check_parts(fold, groups, params)
    validates = fold == params.fold
    part = np.where(validates, "validation", "train")
    folds.write(pl.DataFrame({"id": photos["id"], "fold": fold, "part": part}, schema=folds.SCHEMA))
    metrics = {
        **sizes(validates, labels, groups),
        "photos_that_test_has_too": photos_in(photos, table.filter(in_test)),
        **gaps(labels, validates, names, params.seed),
    }
    write_metrics("split", metrics)
    print(
        f"split: {(~validates).sum():,} photos train, {validates.sum():,} validate; largest "
        f"relative gap of a label's rate {metrics['largest_relative_gap']:.2g}"
    )


if __name__ == "__main__":
    run(main)
