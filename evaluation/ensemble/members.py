"""The members of an ensemble: their networks' probabilities of validation and of test photos.

A member is a folder with a folder for each of its networks, which holds what a run of the pipeline
writes: ``validation.parquet``, ``predictions.parquet`` and ``decision.json``. Several networks are
those of a cross-validation, one a fold: their validation rows together are the member's out-of-fold
predictions, and for test photos it predicts their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from stages import UserError
from stages.network.probabilities import probability_table, read_label_names, read_probabilities
from stages.threshold.decision import read_decision

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


def read_members(folders: Sequence[Path]) -> list[Member]:
    """The members in ``folders``, with the same rows in the same order.

    Raises:
        UserError: two folders are of one name, no row validates, two networks of a member validate
            the same row, or members differ in labels or rows.
    """
    members = [_read(folder) for folder in folders]
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two folders are named {name}, so their weights could not be told")
    first, *others = members
    aligned = [first, *(_aligned(first, other) for other in others)]
    if len(first.validation) == 0:
        raise UserError(f"{first.name}: no row validates, so no weight can be found")
    return aligned


def stack(tables: Sequence[pl.DataFrame]) -> np.ndarray:
    """The probabilities of tables with the same rows: float32 (tables, rows, labels)."""
    return np.stack([table["probabilities"].to_numpy() for table in tables])


def _read(folder: Path) -> Member:
    networks = sorted(path.parent for path in folder.glob(f"*/{VALIDATION}"))
    names = [f"{folder.name}/{network.name}" for network in networks]
    labels = read_label_names(networks[0] / VALIDATION)
    for network, name in zip(networks, names, strict=True):
        for file in (VALIDATION, PREDICTIONS):
            others = read_label_names(network / file)
            _check_labels(names[0], labels, f"{name}/{file}", others)
    validation = pl.concat([_validation(network) for network in networks])
    twice = validation["id"].filter(validation["id"].is_duplicated())
    if len(twice):
        raise UserError(
            f"{folder.name}: more than one network validates {twice[0]}; the networks of a member "
            "are those of different folds, others are members of their own"
        )
    tests = [read_probabilities(each / PREDICTIONS).select(validation.columns) for each in networks]
    tests = [
        _in_order(tests[0], test, names[0], name, PREDICTIONS)
        for test, name in zip(tests, names, strict=True)
    ]
    mean = stack(tests).mean(axis=0, dtype=np.float64).astype(np.float32)
    test = probability_table(tests[0]["id"], tests[0]["labels"], mean, tests[0]["unknown"])
    return Member(folder.name, labels, validation, test, len(networks))


def _validation(network: Path) -> pl.DataFrame:
    """The validation rows, calibrated as the test rows are."""
    table = read_probabilities(network / VALIDATION)
    calibrated = read_decision(network / DECISION).calibrate(table["probabilities"].to_numpy())
    return probability_table(table["id"], table["labels"], calibrated, table["unknown"])


def _aligned(first: Member, other: Member) -> Member:
    """``other`` with its rows in the order of ``first``; UserError unless both are of the same."""
    _check_labels(first.name, first.labels, other.name, other.labels)
    names = first.name, other.name
    return replace(
        other,
        validation=_in_order(first.validation, other.validation, *names, VALIDATION),
        test=_in_order(first.test, other.test, *names, PREDICTIONS),
    )


def _check_labels(one: str, labels: list[str], other: str, others: list[str]) -> None:
    if labels == others:
        return
    different = sorted(set(labels) ^ set(others))
    how = f"only one has {', '.join(different)}" if different else "their order is another"
    raise UserError(f"{one} and {other} do not have the same labels: {how}")


def _in_order(
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
    differs = [first[column].ne_missing(ordered[column]) for column in ("labels", "unknown")]
    contradicted = first["id"].filter(differs[0] | differs[1])
    if len(contradicted):
        raise UserError(
            f"{name} and {other_name} say different true labels for {contradicted[0]} in {file}"
        )
    return ordered
