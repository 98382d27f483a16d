"""The members of an ensemble: what their networks said of validation and of test photos.

A member is a folder with the ``validation.parquet``, ``predictions.parquet`` and ``decision.json``
of one network, or a folder of such folders: the networks of a cross-validation, one a fold. Their
validation rows together are the member's out-of-fold predictions; for test photos it says the mean
of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stages import UserError
from stages.network import probabilities as tables
from stages.threshold import decision as decisions

VALIDATION, PREDICTIONS, DECISION = "validation.parquet", "predictions.parquet", "decision.json"


@dataclass(frozen=True)
class Member:
    """One member; the tables are as ``stages.network.probabilities`` describes them, calibrated.

    Attributes:
        labels: names, in the order of the probabilities' columns.
        networks: how many it is made of.
    """

    name: str
    labels: list[str]
    validation: pl.DataFrame
    test: pl.DataFrame
    networks: int


def read(folders: Sequence[Path]) -> list[Member]:
    """The members in ``folders``, with the same rows in the same order.

    Raises:
        UserError: a folder holds no network, two are of one name, or members differ in labels or
            rows.
    """
    members = [_read(folder) for folder in folders]
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two folders are named {name}, so their weights could not be told")
    first, *others = members
    aligned = [first]
    for other in others:
        _check_labels(first.name, first.labels, other.name, other.labels)
        aligned.append(
            Member(
                other.name,
                other.labels,
                _like(first.validation, other.validation, first.name, other.name, VALIDATION),
                _like(first.test, other.test, first.name, other.name, PREDICTIONS),
                other.networks,
            )
        )
    return aligned


def stack(members: Sequence[pl.DataFrame]) -> np.ndarray:
    """The probabilities of tables with the same rows: float32 (members, rows, labels)."""
    return np.stack([member["probabilities"].to_numpy() for member in members])


def _read(folder: Path) -> Member:
    folders = [folder] if (folder / VALIDATION).is_file() else _below(folder)
    labels = tables.read_label_names(folders[0] / VALIDATION)
    for other in folders:
        for path in (other / VALIDATION, other / PREDICTIONS):
            _check_labels(str(folders[0]), labels, str(path), tables.read_label_names(path))
    validation = pl.concat([_validation(each) for each in folders])
    twice = validation["id"].filter(validation["id"].is_duplicated())
    if len(twice):
        raise UserError(
            f"{folder}: more than one network validates {twice[0]}; the networks of a member are "
            "those of different folds, others are members of their own"
        )
    tests = [tables.read(each / PREDICTIONS).select(validation.columns) for each in folders]
    tests = [
        _like(tests[0], test, str(folders[0]), str(each), PREDICTIONS)
        for each, test in zip(folders, tests, strict=True)
    ]
    mean = stack(tests).mean(axis=0, dtype=np.float64).astype(np.float32)
    test = tables.table(tests[0]["id"], tests[0]["labels"], mean)
    return Member(folder.name, labels, validation, test, len(folders))


def _validation(folder: Path) -> pl.DataFrame:
    """The validation rows, calibrated as the test rows are."""
    table = tables.read(folder / VALIDATION)
    said = decisions.read(folder / DECISION).calibrate(table["probabilities"].to_numpy())
    return tables.table(table["id"], table["labels"], said)


def _below(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.glob(f"*/{VALIDATION}"))
    if not found:
        raise UserError(f"{folder} holds no {VALIDATION}, and no folder that holds one")
    return found


def _check_labels(one: str, labels: list[str], other: str, others: list[str]) -> None:
    if labels == others:
        return
    different = sorted(set(labels) ^ set(others))
    how = f"only one has {', '.join(different)}" if different else "their order is another"
    raise UserError(f"{one} and {other} do not have the same labels: {how}")


def _like(
    first: pl.DataFrame, other: pl.DataFrame, name: str, other_name: str, file: str
) -> pl.DataFrame:
    """``other`` in the order of ``first``; UserError unless both have the same rows."""
    missing = first.join(other, on="id", how="anti")["id"]
    surplus = other.join(first, on="id", how="anti")["id"]
    counts = [
        f"{len(ids):,} only in {where} (first: {ids[0]})"
        for ids, where in ((missing, name), (surplus, other_name))
        if len(ids)
    ]
    if counts:
        raise UserError(
            f"{name} and {other_name} do not have the same rows in {file}: {', '.join(counts)}; "
            "combine runs of the same split, or all folds of one"
        )
    ordered = first.select("id").join(other, on="id", how="left", maintain_order="left")
    other_labels = first["labels"].ne_missing(ordered["labels"])
    for id in first["id"].filter(other_labels):
        raise UserError(f"{name} and {other_name} say different true labels for {id} in {file}")
    return ordered
