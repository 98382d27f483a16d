"""The start of a run: the network that is asked for, checked, described and built."""

import polars as pl
import torch
from torch import nn

from stages import UserError
from stages.ingest.form import Form
from stages.network.description import Description
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Product
from stages.network.network import new_network, size_mb
from stages.network.tokens import Words
from stages.params import check as check_section
from stages.train import progressive
from stages.train.distributed import Group
from stages.train.losses import least_loss_logits, training_loss, unknown_weight
from stages.train.params import Train
from stages.train.recomputation import recompute_parts
from stages.vocab import vocabulary

HEAD_STD = 0.01  # of a head's weights at the start (Lin et al. 2017)


def check(params: Train, captions: pl.Series, stored_size: int) -> Train:
    """The parameters with ``inputs: auto`` decided.

    Args:
        captions: of the training rows.
        stored_size: height and width of the photos in the image store, in pixels.

    Raises:
        UserError: the parameters do not go with the data.
    """
    if len(captions) == 0:
        raise UserError("there is no training row; see metrics/split.json")
    if params.inputs == "auto":
        inputs = "image" if captions.null_count() == len(captions) else "image+caption"
        params = check_section(Train, params.model_dump() | {"inputs": inputs}, "train")
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
    return params


def describe(params: Train, label_names: list[str], form: Form) -> Description:
    """The network that ``params`` ask for, with the words of ``data/vocabulary.json``.

    Args:
        form: of the photos in the image store.
    """
    assert params.inputs != "auto"  # check has decided
    return Description(
        labels=label_names,
        inputs=params.inputs,
        backbone=params.backbone,
        stored_size=form.size,
        depth=form.depth,
        fit=form.fit,
        crop=params.augment.crop,
        pooling=params.pooling,
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
        network, words = new_network(
            description, params.weights, params.freeze, params.frozen_layers
        )
    megabytes = size_mb(network)
    if megabytes > params.max_mb:
        raise UserError(
            f"the network takes {megabytes:.1f} MB, more than train.max_mb = {params.max_mb:g}; "
            "choose a smaller train.backbone or raise the budget"
        )
    native = description.native_size
    if params.weights != "none" and group.is_first and native not in (None, description.input_size):
        print(
            f"train: {params.backbone} is made for photos of {native} pixels, and sees "
            f"{description.input_size}; ingest.image_size and train.augment.crop set that"
        )
    if params.recompute:
        recompute_parts(network)
    progressive.check(network.backbone, params, description.input_size)
    network.to(group.device).to(memory_format=torch.channels_last)
    group.synchronise(network)
    return network, words


def start_at_rates(
    network: Classifier, params: Train, targets: torch.Tensor, known: torch.Tensor | None = None
) -> None:
    """Sets the heads so that training starts from the labels' rates.

    The biases become the logits for which the loss is least while all photos look alike, and the
    weights so small that nearly all do (the prior of Lin et al., Focal Loss, 2017). Otherwise
    hundreds of steps go by until the biases have crept there.

    Args:
        targets: of the training rows, 0 or 1, (rows, labels).
        known: bool (rows, labels), which of ``targets`` are known; None: all.
    """
    loss = training_loss(params.loss, targets, known, targets.device)
    unknown = unknown_weight(params.loss, targets.shape[1])
    logits = least_loss_logits(loss, targets, known, unknown)
    with torch.no_grad():
        for head in network.heads():
            nn.init.normal_(head.weight, std=HEAD_STD)
            head.bias.copy_(logits)
        if isinstance(network.fusion, Product):
            network.fusion.prior.copy_(logits)
