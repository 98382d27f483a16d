"""What in photos and captions speaks for labels, of the examples that the page shows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stages import printable
from stages.bundle.bundle import Bundle
from stages.explain import feature_maps, word_effects
from stages.explain.explainer import Explainer
from stages.explain.layers import Layer
from stages.files import write_csv
from stages.ingest.images import ImageStore
from stages.progress import Progress
from stages.report.example_choice import choose_examples
from stages.report.params import Report
from stages.report.validation import Validation
from stages.words import Segmentation

WORDS = Path("metrics/report/words.csv")

FEATURE_PHOTOS, FEATURE_CHANNELS = 8, 4
WORDS_OF_A_LABEL, LEAST_CAPTIONS = 12, 3


@dataclass(frozen=True)
class PhotoExplanations:
    """Where photos hold what speaks for labels, and what layers of the backbone make of photos.

    Attributes:
        heat_maps: float32 (examples, side, side), not negative: one of each example's photo.
        feature_rows: int (photos,), the validation photos that there are feature maps of.
        layers: the layers of those maps: an early, a middle and a late one.
        feature_maps: for each of ``layers`` float32 (photos, channels, side, side).
    """

    heat_maps: np.ndarray
    feature_rows: np.ndarray
    layers: list[Layer]
    feature_maps: list[np.ndarray]


@dataclass(frozen=True)
class WordEffects:
    """By how much single words of captions raise the logits of labels.

    Attributes:
        captions: how many captions ``strongest`` is a mean over.
        strongest: columns of ``word_effects.STRONGEST``.
        words: ``row`` of a validation photo and a ``word`` of its caption: of those captions and
            of the examples'.
        effects: float32 (words, labels).
        segmentation: what a word is.
    """

    captions: int
    strongest: pl.DataFrame
    words: pl.DataFrame
    effects: np.ndarray
    segmentation: Segmentation

    def of_caption(self, row: int, label: int) -> dict[str, float]:
        """The effects on one label of the words of a photo's caption."""
        places = np.flatnonzero(self.words["row"].to_numpy() == row)
        words = self.words["word"].gather(places)
        return dict(zip(words, self.effects[places, label].tolist(), strict=True))


@dataclass(frozen=True)
class Explanations:
    """The examples that the page shows, and what explains them.

    Attributes:
        examples: columns of ``example_choice.EXAMPLES``.
        photos: None where the network sees no photos, or its backbone keeps no maps of them.
        words: None where the network reads no captions.
    """

    examples: pl.DataFrame
    photos: PhotoExplanations | None
    words: WordEffects | None


def explain(
    bundle: Bundle, validation: Validation, store: ImageStore, params: Report
) -> Explanations:
    """Chooses examples among the validation photos, and explains them."""
    description, explainer = bundle.description, Explainer(bundle)
    examples = choose_examples(validation, params.labels, params.photos)
    photos = words = None
    if explainer.layers:
        photos = explain_photos(explainer, validation.photos, examples, store)
    elif description.sees_images:
        print(
            f"report: {printable(description.backbone)} keeps no maps of photos of "
            f"{description.input_size} pixels, so the page shows no heat maps"
        )
    if description.reads_captions:
        words = explain_words(explainer, validation, examples, store, params.captions)
    return Explanations(examples, photos, words)


def explain_photos(
    explainer: Explainer, photos: pl.DataFrame, examples: pl.DataFrame, store: ImageStore
) -> PhotoExplanations:
    """Heat maps of the examples, and feature maps of the best photo of each of several labels.

    Args:
        explainer: of a network whose backbone keeps maps of photos.
        photos: records of the photos that ``row`` of ``examples`` counts.
    """
    labels = examples["label"].to_numpy()
    with Progress("heat maps", len(examples), "photos") as progress:
        heat_maps = explainer.heat_maps(photos[examples["row"]], store, labels, progress.advance)

    best = examples.filter(pl.col("kind") == "best").unique(
        "label", keep="first", maintain_order=True
    )
    rows = best["row"].unique(maintain_order=True).head(FEATURE_PHOTOS).to_numpy()
    layers = feature_maps.choose_layers(explainer.layers)
    maps = explainer.feature_maps(photos[rows], store, layers, FEATURE_CHANNELS)
    return PhotoExplanations(heat_maps, rows, layers, maps)


def explain_words(
    explainer: Explainer,
    validation: Validation,
    examples: pl.DataFrame,
    store: ImageStore,
    captions: int,
) -> WordEffects:
    """The effects of the words in the examples' captions, and in others for the mean.

    Args:
        captions: of how many captions the mean is taken, at most; they are spread evenly over
            those that there are.
    """
    photos = validation.photos
    captioned = np.flatnonzero(photos["caption"].is_not_null().to_numpy())
    even = np.linspace(0, len(captioned) - 1, min(captions, len(captioned))).round().astype(int)
    sample = captioned[even]
    rows = np.union1d(sample, examples["row"].to_numpy())
    words, effects = explainer.word_effects(photos[rows], store)
    words = words.with_columns(row=pl.Series(rows).gather(words["row"]))
    in_sample = words["row"].is_in(sample).to_numpy()
    strongest = word_effects.strongest(
        words.filter(in_sample),
        effects[in_sample],
        validation.names,
        LEAST_CAPTIONS,
        WORDS_OF_A_LABEL,
    )
    return WordEffects(len(sample), strongest, words, effects, explainer.segmentation)


def write_words(words: WordEffects | None) -> None:
    """Writes the words that speak for each label to ``WORDS``: of None, only its header."""
    strongest = word_effects.STRONGEST.to_frame() if words is None else words.strongest
    rounded = strongest.with_columns(pl.selectors.float().round(6))
    write_csv(WORDS, rounded.columns, rounded.iter_rows())
