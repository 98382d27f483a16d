"""``data/vocabulary.json``: the words of training captions, and captions as numbers."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stages.files import write_json
from stages.words import normalizer, stop_words, tokenize

VOCABULARY = Path("data/vocabulary.json")
PADDING, UNKNOWN = 0, 1
FIRST_WORD = 2


@dataclass(frozen=True)
class Vocabulary:
    """The words a caption network knows, and how a caption becomes a row of their numbers.

    Attributes:
        words: by falling frequency, then by name; ``words[i]`` has the number ``i + 2``, after
            ``PADDING`` and ``UNKNOWN``.
        normalize: ``none``, ``stem`` or ``lemma``, as in ``stages.words.normalizer``.
        drop_stop_words: whether words like "the" are left out of captions.
        max_length: words of a caption that count.
    """

    words: list[str]
    normalize: str
    drop_stop_words: bool
    max_length: int

    def __len__(self) -> int:
        """How many numbers there are, padding and unknown counted."""
        return len(self.words) + FIRST_WORD

    def normalized(self, caption: str | None) -> list[str]:
        """The caption's words as this vocabulary looks them up, all of them, known or not."""
        words = tokenize(caption)
        if self.drop_stop_words:
            words = [word for word in words if word not in stop_words()]
        return [self._normalize(word) for word in words]

    def encode(self, captions: Iterable[str | None]) -> np.ndarray:
        """Captions as int64 (captions, max_length), padded at the end with ``PADDING``."""
        rows = [self.normalized(caption)[: self.max_length] for caption in captions]
        numbers = np.full((len(rows), self.max_length), PADDING, np.int64)
        for row, words in enumerate(rows):
            numbers[row, : len(words)] = [self._numbers.get(word, UNKNOWN) for word in words]
        return numbers

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, FIRST_WORD)}

    @cached_property
    def _normalize(self):
        return normalizer(self.normalize)


def build(
    captions: Iterable[str | None],
    *,
    normalize: str,
    drop_stop_words: bool,
    min_count: int,
    max_words: int,
    max_length: int,
) -> Vocabulary:
    """The ``max_words`` most frequent words that ``captions`` use at least ``min_count`` times."""
    empty = Vocabulary([], normalize, drop_stop_words, max_length)
    counts = Counter(word for caption in captions for word in empty.normalized(caption))
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    words = [word for _, word in frequent[:max_words]]
    return Vocabulary(words, normalize, drop_stop_words, max_length)


def to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    return asdict(vocabulary)


def from_json(content: dict[str, Any]) -> Vocabulary:
    return Vocabulary(**content)


def write(vocabulary: Vocabulary, path: Path = VOCABULARY) -> None:
    write_json(path, to_json(vocabulary))


def read(path: Path = VOCABULARY) -> Vocabulary:
    return from_json(json.loads(path.read_text("utf-8")))
