"""``models/network/``: a trained network and everything needed to rebuild and feed it.

``network.safetensors`` holds the weights, ``network.json`` the ``Description``; with a caption
transformer, ``transformer/`` its configuration and tokenizer. Reading them executes nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from stages import UserError
from stages.files import project_root, whole, write_json
from stages.ingest.images import ImageStore
from stages.network.batches import Batch, Rows
from stages.network.description import TRANSFORMER, WEIGHTS, Description, read_description
from stages.network.embeddings import read_vectors
from stages.network.nets import backbones, timm_backbones, torchvision_backbones, transformer
from stages.network.nets.caption import CaptionEncoder
from stages.network.nets.classifier import Classifier, Encoder
from stages.network.nets.fusion import Concat, Experts, Late, Output, Product
from stages.network.nets.places import PlaceAttention
from stages.network.nets.transformer import TransformerEncoder
from stages.network.nets.weights import no_more_than, shapes_of
from stages.network.precision import autocast
from stages.network.preprocess import prepare
from stages.network.tokens import Tokens, Words, words_of
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary

NETWORK = Path("models/network")
EXPERTS: dict[str, type[Experts]] = {"late": Late, "product": Product}  # by ``train.fusion``
MB = 2**20  # bytes; the sizes that the studies publish count so


def new_network(
    description: Description, weights: str = "none", freeze: bool = False, frozen_layers: int = 0
) -> tuple[Classifier, Words | None]:
    """A network to be trained, and what makes numbers of captions for it (None: it reads none).

    A caption encoder starts from what ``description.text`` names: a pretrained transformer, or a
    file of word vectors.

    Args:
        weights: of the backbone, as in ``train.weights``.
        freeze: whether the backbone stays as it is.
        frozen_layers: of the backbone, from the photo on, that stay as they are.

    Raises:
        UserError: the backbone, the weights, the transformer or the word vectors cannot be had, or
            do not fit.
    """
    encoder, words = _encoder(description) if description.reads_captions else (None, None)
    outputs = 0 if freeze else len(description.labels)
    network = _assemble(description, encoder, weights, freeze, auxiliary_outputs=outputs)
    if frozen_layers and network.backbone is not None:
        layers = len(backbones.parts(network.backbone))
        if frozen_layers >= layers:
            raise UserError(
                f"train.frozen_layers is {frozen_layers}, but {description.backbone} has {layers} "
                "layers; set a lower number, or train.freeze to true, so that none learns"
            )
        network.unfreeze(layers - frozen_layers)
    return network, words


def _encoder(description: Description) -> tuple[Encoder, Words]:
    text = description.text
    if description.has_transformer:
        pretrained, tokenizer = transformer.pretrained(text["transformer"])
        if pretrained.max_tokens is not None and text["max_tokens"] > pretrained.max_tokens:
            raise UserError(
                f"train.text.max_tokens is {text['max_tokens']}, but {text['transformer']} takes "
                f"{pretrained.max_tokens} at the most"
            )
        if text["frozen_layers"]:
            pretrained.freeze(text["frozen_layers"])
        return pretrained, Tokens(tokenizer, text["max_tokens"])
    words = vocabulary.from_json(description.vocabulary)
    recurrent = _recurrent(description, words)
    if text["embeddings"] is not None:
        file = project_root() / text["embeddings"]
        recurrent.start_from(read_vectors(file, words.words, text["embedding"]), words.words)
    return recurrent, words


def _recurrent(description: Description, words: Vocabulary) -> CaptionEncoder:
    names = ("encoder", "bidirectional", "embedding", "hidden", "dropout")
    return CaptionEncoder(len(words), **{name: description.text[name] for name in names})


def _assemble(
    description: Description,
    captions: Encoder | None,
    weights: str = "none",
    freeze: bool = False,
    auxiliary_outputs: int = 0,
    check: Callable[[nn.Module], None] = lambda backbone: None,
) -> Classifier:
    _check_places(description)
    backbone, image = None, 0
    norm: nn.Module = nn.Identity()
    pretrained: list[nn.Module] = [captions] if isinstance(captions, TransformerEncoder) else []
    if description.sees_images:
        backbone, image = backbones.build(
            *(description.backbone, description.input_size, weights, auxiliary_outputs),
            *(description.architecture, check, description.has_places),
        )
        pretrained += [backbone] if weights != "none" else []
        # Backbones differ a hundredfold in the scale of their features; a rate suits one scale.
        if description.feature_norm == "layer":
            norm = nn.LayerNorm(image)
        elif description.feature_norm == "batch":
            norm = nn.BatchNorm1d(image, affine=False)
    return Classifier(
        backbone,
        norm,
        captions,
        _fusion(description, image, captions.features if captions is not None else 0),
        caption_dropout=description.text["caption_dropout"],
        frozen=freeze,
        pretrained=pretrained,
    )


def _check_places(description: Description) -> None:
    """That what gives the places of a photo, and what is given them, can; as ``Train`` has it."""
    joined = description.reads_captions and description.fusion not in EXPERTS
    gives = description.backbone.startswith(timm_backbones.PREFIX)
    if description.sees_images and description.has_places and (joined or not gives):
        raise UserError(
            f"train.pooling attention does not go with train.backbone {description.backbone} and "
            f"train.fusion {description.fusion}"
        )


def _fusion(description: Description, image: int, caption: int) -> Concat | Experts:
    """What joins ``image`` features of the photo and ``caption`` of the caption; 0: not there."""
    outputs, dropout = len(description.labels), description.dropout
    layer = PlaceAttention if image and description.has_places else nn.Linear
    if image and caption and description.fusion in EXPERTS:
        heads = layer(image, outputs), nn.Linear(caption, outputs)
        return EXPERTS[description.fusion](*heads, dropout)
    between: nn.Module = nn.Identity()
    if image and caption and description.fusion == "concat-relu":
        between = nn.ReLU()
    elif image and caption and description.fusion == "concat-batchnorm":
        between = nn.BatchNorm1d(image + caption)
    return Concat(layer(image + caption, outputs), dropout, between)


def weights_of(network: Classifier) -> dict[str, torch.Tensor]:
    """The network's state but for auxiliary heads, which only help to train: what is saved."""
    auxiliary = tuple(f"backbone.{name}." for name in torchvision_backbones.AUXILIARY)
    return {
        name: tensor.detach()
        for name, tensor in network.state_dict().items()
        if not name.startswith(auxiliary)
    }


def size_mb(network: Classifier) -> float:
    """Size of the weights as they are saved, in MB of 2²⁰ bytes."""
    return sum(tensor.nbytes for tensor in weights_of(network).values()) / MB


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights, in hexadecimal."""
    total = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def save_network(
    network: Classifier, description: Description, words: Words | None, folder: Path = NETWORK
) -> None:
    """Writes ``folder`` whole; ``words`` are as from ``build``."""
    with whole(folder) as temporary:
        temporary.mkdir()
        weights = {name: t.cpu().contiguous() for name, t in weights_of(network).items()}
        save_file(weights, temporary / WEIGHTS)
        write_json(temporary / "network.json", asdict(description))
        if isinstance(network.captions, TransformerEncoder) and isinstance(words, Tokens):
            beside = temporary / TRANSFORMER
            beside.mkdir()
            network.captions.save(beside)
            words.save(beside)


def load_network(folder: Path = NETWORK) -> tuple[Classifier, Description, Words | None]:
    """What ``save`` wrote: the network, ready to predict on the CPU, its description, its words."""
    description = read_description(folder)
    words = words_of(description, folder)
    return rebuilt(description, words, folder), description, words


def rebuilt(description: Description, words: Words | None, folder: Path) -> Classifier:
    """The network whose weights are in ``folder``, ready to predict on the CPU, in float32.

    Raises:
        UserError: the weights are those of another network.
    """
    file = folder / WEIGHTS
    encoder: Encoder | None = None
    try:
        shapes = shapes_of(file)

        def check(backbone: nn.Module) -> None:
            for name, tensor in backbone.state_dict(prefix="backbone.").items():
                if shapes.get(name) != tensor.shape:
                    raise UserError(f"{file} is not of the network described: {name} differs")

        with no_more_than(shapes, file):
            if description.has_transformer:
                encoder = transformer.rebuilt(folder / TRANSFORMER)
            elif isinstance(words, Vocabulary):
                encoder = _recurrent(description, words)
            network = _assemble(description, encoder, check=check)
        # Half-precision weights become single ones as they are copied.
        network.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{file} is not of the network described: {reason}") from error
    return network.eval()


def rows_for(
    description: Description,
    records: pl.DataFrame,
    store: ImageStore,
    words: Words | None,
    targets: np.ndarray | None,
    known: np.ndarray | None = None,
) -> Rows:
    """The inputs that a network of that description takes of ``records``.

    Args:
        words: as from ``build`` or ``load``.
        targets: of 0 and 1, (rows, labels); None where labels are not known.
        known: bool (rows, labels), which of ``targets`` are known; None: all.
    """
    return Rows(
        store=store if description.sees_images else None,
        images=records["image"].to_numpy(),
        words=torch.from_numpy(words.encode(records["caption"])) if words is not None else None,
        targets=None if targets is None else torch.from_numpy(targets.astype(np.float32)),
        known=None if known is None else torch.from_numpy(known),
    )


@contextmanager
def memory_for(key: str, batch_size: int, remedy: str = "lower it") -> Iterator[None]:
    """Turns a GPU that is too small for the block into a sentence about the parameter ``key``."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{key} = {batch_size} takes more memory than this GPU has; {remedy}"
        ) from error


def prepared(batch: Batch, description: Description) -> Batch:
    """``batch`` with its photos, where it has any, cut and normalised."""
    return batch.map_images(
        lambda images: prepare(images, description.crop, description.mean, description.std)
    )


@torch.inference_mode()
def outputs(
    network: Classifier, description: Description, batches: Iterator[Batch], precision: str
) -> Iterator[tuple[Batch, Output]]:
    """Yields each batch, its photos prepared, with the network's output, in inference mode."""
    network.eval()
    context = autocast(next(network.parameters()).device, precision)
    for stored in batches:
        batch = prepared(stored, description)
        with context():
            yield batch, network(batch)


def answer(network: Classifier, batch: Batch, flip: bool) -> torch.Tensor:
    """Logits of a prepared batch, float32 (n, labels).

    With ``flip`` they are the mean of the photo's and its mirror image's.
    """
    logits: torch.Tensor = network(batch).logits
    if flip:
        mirrored = network(batch.mirrored()).logits
        logits = (logits + mirrored) / 2
    return logits


@torch.inference_mode()
def logits(
    network: Classifier, description: Description, batches: Iterator[Batch], precision: str
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Yields each batch, its photos prepared, with its ``answer``, on the network's device."""
    network.eval()
    context = autocast(next(network.parameters()).device, precision)
    for stored in batches:
        batch = prepared(stored, description)
        with context():
            yield batch, answer(network, batch, description.flip)


def fit_fusion(
    network: Classifier,
    description: Description,
    batches: Iterator[Batch],
    precision: str,
    join: Callable[[torch.Tensor], torch.Tensor] = lambda rows: rows,
) -> None:
    """Sets how much photo and caption count in the answer of experts to what suits ``batches``.

    That is where the log loss of the answer is least, over what is known. One number or two out of
    thousands of rows hardly flatter, but they are judged by the rows they are made from.

    Args:
        network: of experts.
        batches: of photos and captions, with targets.
        join: concatenates the rows, (n, labels), of several processes, each with its own batches.
    """
    assert isinstance(network.fusion, Experts)
    empty = torch.zeros(0, len(description.labels))
    images, captions, targets, weights = [empty], [empty], [empty], [empty]
    for batch, output in outputs(network, description, batches, precision):
        assert batch.words is not None and batch.targets is not None
        given = batch.words[:, 0] != 0  # elsewhere the photo decides alone
        (_, image), (_, caption) = output.weighted_logits
        images.append(image[given].cpu())
        captions.append(caption[given].cpu())
        targets.append(batch.targets[given].cpu())
        known = torch.ones_like(batch.targets) if batch.known is None else batch.known.float()
        weights.append(known[given].cpu())
    # In double precision: near the least loss, single cannot tell one place from the next.
    image, caption, truth, weight = (
        join(torch.cat(parts)).double() for parts in (images, captions, targets, weights)
    )
    if len(truth):
        network.fusion.fit(image, caption, truth, weight)
