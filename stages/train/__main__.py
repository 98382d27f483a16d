"""train: records, photos, folds and vocabulary → a network, and its validation probabilities."""

import platform
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import torch

from stages import metrics, run
from stages.files import cache_folder, room
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.allocation import keep_freed_memory
from stages.network.network import memory_for, save_network
from stages.network.precision import precision_for
from stages.network.probabilities import probability_table, write_probabilities
from stages.params import read
from stages.train import distributed, features, nodes, rows
from stages.train.checkpoint import Checkpoint
from stages.train.curves import curves
from stages.train.distributed import Group
from stages.train.loop import fit, predict
from stages.train.params import Train
from stages.train.run_metrics import cost, left_out, little_known, outcome
from stages.train.start import build_network, check, describe


def main() -> None:
    params = read(Train)
    if not distributed.is_joined():
        if params.devices == "cluster":
            nodes.check()
            # Features of a frozen backbone are computed there in pieces, the rest is learnt here.
            if not features.are_constant(params):
                nodes.launch()
                return
        if (devices := distributed.count(params.devices)) > 1:
            distributed.launch(devices)
            return
    keep_freed_memory()
    with distributed.group(params.devices, params.batch_size) as group, ExitStack() as until:
        place = cache_folder("rows") / f"train-{platform.node()}"
        train(params, group, group.from_first_here(lambda: until.enter_context(room(place))))
        group.all(None)  # nobody has the rows open any more


def train(params: Train, group: Group, folder: Path) -> None:
    """The stage as each process of ``group`` runs it; only the first writes results.

    Args:
        folder: an empty one, of all processes of this machine.
    """
    label_names, store = records.read_label_names(), ImageStore()
    here = group.is_first_here
    training, validation = rows.read() if here else (pl.DataFrame(), pl.DataFrame())
    given, captions = params, training["caption"] if here else pl.Series()
    params = group.from_first(lambda: check(given, captions, store.size))
    if params.inputs != given.inputs and group.is_first:
        print(f"train: it learns from {params.inputs} (train.inputs: auto)")

    torch.backends.cudnn.benchmark = True  # photos are all of one size
    torch.manual_seed(params.seed)
    precision = precision_for(group.device, params.precision)
    description = describe(params, label_names, store.form)
    network, words = build_network(params, description, group)
    known = little_known(words, validation["caption"]) if group.is_first else {}
    with group.first("rows", here=True):
        if here:
            rows.save(folder, training, validation, label_names, description, store, words)
    del training
    train_rows, validation_rows = rows.mapped(folder, description, store)
    checkpoint = Checkpoint(params, network, store.form, precision)
    group.check_same(checkpoint.path.name)
    feature_seconds = 0.0
    remedy = "raise train.accumulate, or lower it"
    with memory_for("train.batch_size", params.batch_size, remedy), curves(group) as report:
        if features.are_constant(params):
            train_rows, validation_rows, feature_seconds = features.in_place_of_photos(
                train_rows, validation_rows, network, description, params, precision, group
            )
        result = fit(
            network, description, train_rows, validation_rows, params, checkpoint, report, group
        )
    asked = network, description, validation_rows, params.batch_size, precision, group
    probabilities, without = predict(*asked), left_out(*asked)
    figures = cost(network, description, precision, group)
    if group.is_first:
        save_network(network, description, words)
        columns = validation["id"], validation["labels"], probabilities, validation["unknown"]
        write_probabilities(probability_table(*columns), label_names)
        ended = outcome(result, figures["mb"], feature_seconds)
        metrics.write("train", figures | ended | without | known)
        checkpoint.remove()


if __name__ == "__main__":
    run(main)
