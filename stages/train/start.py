"""The start of a run: the network that is asked for, checked, described and built."""

import polars as pl
import torch

from stages import UserError
from stages.ingest.form import Form
from stages.network.description import Description
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.network import new_network, size_mb
from stages.network.tokens import Words
from stages.train.distributed import Group
from stages.train.params import Train
from stages.vocab import vocabulary


def check(params: Train, captions: pl.Series, stored_size: int) -> None:
    """Ends the stage early where the parameters do not go with the data.

    Args:
        captions: of the training rows.
        stored_size: height and width of the photos in the image store, in pixels.
    """
    if len(captions) == 0:
        raise UserError("there is no training row; see metrics/split.json")
    if "caption" in params.inputs and captions.null_count() == len(captions):
        raise UserError(
            f"train.inputs is {params.inputs}, but no training photo has a caption; "
            "set train.inputs to image"
        )
    if params.augment.crop is not None and params.augment.crop > stored_size:
        raise UserError(
            f"train.augment.crop is {params.augment.crop}, but photos are stored with "
            f"ingest.image_size = {stored_size} pixels"
        )


def describe(params: Train, label_names: list[str], form: Form) -> Description:
    """The network that ``params`` ask for, with the words of ``data/vocabulary.json``.

    Args:
        form: of the photos in the image store.
    """
    return Description(
        labels=label_names,
        inputs=params.inputs,
        backbone=params.backbone,
        stored_size=form.size,
        depth=form.depth,
        crop=params.augment.crop,
        feature_norm=params.feature_norm,
        fusion=params.fusion,
        dropout=params.dropout,
        flip=params.test_time_flip,
        precision=params.precision,
        text=params.text.model_dump(),
        vocabulary=vocabulary.to_json(vocabulary.read()),
        **(backbones.preprocessing(params.backbone) if "image" in params.inputs else {}),
    )


def build_network(
    params: Train, description: Description, group: Group
) -> tuple[Classifier, Words | None]:
    """The network on the device of ``group``, and what makes numbers of captions for it.

    Raises:
        UserError: it cannot be built, or is larger than ``train.max_mb``.
    """
    with group.first("build"):  # weights may have to be downloaded
        network, words = new_network(description, params.weights, params.freeze)
    megabytes = size_mb(network)
    if megabytes > params.max_mb:
        raise UserError(
            f"the network takes {megabytes:.1f} MB, more than train.max_mb = {params.max_mb:g}; "
            "choose a smaller train.backbone or raise the budget"
        )
    network.to(group.device).to(memory_format=torch.channels_last)
    group.synchronise(network)
    return network, words
