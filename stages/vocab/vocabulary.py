"""``data/vocabulary.json``: the words of training captions, and captions as numbers."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stages.files import write_json
from stages.words import STOP_WORDS, Normalization, Segmentation, normalizer, tokenize

VOCABULARY = Path("data/vocabulary.json")
PADDING, UNKNOWN = 0, 1
FIRST_WORD = 2
LEAST_KNOWN = 0.5  # share of the words of captions: below, they say little to a network


@dataclass(frozen=True)
class Vocabulary:
    """The words a caption network knows, and how a caption becomes a row of their numbers.

    Attributes:
        words: by falling frequency, then by name; ``words[i]`` has the number ``i + 2``, after
            ``PADDING`` and ``UNKNOWN``.
        normalize: how the forms of a word are brought together.
        drop_stop_words: whether words like "the" are left out of captions.
        max_length: words of a caption that count.
        segmentation: what a word is.
    """

    words: list[str]
    normalize: Normalization
    drop_stop_words: bool
    max_length: int
    segmentation: Segmentation = "letters"  # of old ones, that knew no other

    def __len__(self) -> int:
        """How many numbers there are, padding and unknown counted."""
        return len(self.words) + FIRST_WORD

    def normalized(self, captions: Iterable[str | None]) -> pl.DataFrame:
        """The captions' words as this vocabulary looks them up, all of them, known or not.

        A row a word, in order: ``caption``, the number of its caption, and ``word``.
        """
        words = tokenize(pl.Series("word", captions, pl.String), self.segmentation)
        table = words.to_frame().with_row_index("caption").explode("word").drop_nulls()
        if self.drop_stop_words:
            table = table.filter(~pl.col("word").is_in(list(STOP_WORDS)))
        # There are few distinct words, however many captions.
        distinct = table["word"].unique()
        forms = pl.Series([self._normalize(word) for word in distinct], dtype=pl.String)
        return table.with_columns(pl.col("word").replace_strict(distinct, forms))

    def encode(self, captions: Iterable[str | None]) -> np.ndarray:
        """Captions as int64 (captions, max_length), padded at the end with ``PADDING``."""
        captions = pl.Series(captions, dtype=pl.String)
        words = self.normalized(captions)
        caption = words["caption"].to_numpy()
        place = np.arange(len(words)) - np.searchsorted(caption, caption)
        counts = place < self.max_length
        numbers = words["word"].replace_strict(
            self.words, range(FIRST_WORD, len(self)), default=UNKNOWN
        )
        rows = np.full((len(captions), self.max_length), PADDING, np.int64)
        rows[caption[counts], place[counts]] = numbers.to_numpy()[counts]
        return rows

    def share_known(self, captions: Iterable[str | None]) -> float | None:
        """The share of the captions' words that this vocabulary knows; None: they have none."""
        words = self.normalized(captions)["word"]
        return int(words.is_in(self.words).sum()) / len(words) if len(words) else None

    @cached_property
    def _normalize(self) -> Callable[[str], str]:
        return normalizer(self.normalize)


def build(
    captions: Iterable[str | None],
    *,
    normalize: Normalization,
    drop_stop_words: bool,
    min_count: int,
    max_words: int,
    max_length: int,
    segmentation: Segmentation = "letters",
) -> Vocabulary:
    """The ``max_words`` most frequent words that ``captions`` use at least ``min_count`` times."""
    empty = Vocabulary([], normalize, drop_stop_words, max_length, segmentation)
    counts = empty.normalized(captions).group_by("word").agg(uses=pl.len())
    frequent = counts.filter(pl.col("uses") >= min_count)
    words = frequent.sort("uses", "word", descending=[True, False])["word"][:max_words]
    return replace(empty, words=words.to_list())


def to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The fields of ``vocabulary`` as JSON can hold them; of letters nothing is said of that."""
    fields = asdict(vocabulary)
    if vocabulary.segmentation == "letters":
        del fields["segmentation"]
    return fields


def from_json(content: dict[str, Any]) -> Vocabulary:
    """The inverse of ``to_json``."""
    return Vocabulary(**content)


def write(vocabulary: Vocabulary, path: Path = VOCABULARY) -> None:
    """Writes ``vocabulary``, whole or not at all."""
    write_json(path, to_json(vocabulary))


def read(path: Path = VOCABULARY) -> Vocabulary:
    """The vocabulary that ``write`` has written."""
    return from_json(json.loads(path.read_text("utf-8")))
