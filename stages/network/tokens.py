"""Captions to rows of numbers, for whatever network reads them. Needs no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages import UserError
from stages.network.description import TRANSFORMER, Description
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tokenizers

TOKENIZER = "tokenizer.json"
PADDING = 0  # in rows of tokens; a tokenizer's own numbers stand there one higher


class Tokens:
    """A transformer's tokenizer, which makes rows of numbers of captions, as a vocabulary does.

    Args:
        tokenizer: with the model's own special tokens.
        max_tokens: tokens of a caption that count, those of beginning and end included.
    """

    def __init__(self, tokenizer: "tokenizers.Tokenizer", max_tokens: int) -> None:
        tokenizer.enable_truncation(max_tokens)
        tokenizer.no_padding()
        self._tokenizer, self.max_tokens = tokenizer, max_tokens

    def encode(self, captions: Iterable[str | None]) -> np.ndarray:
        """Captions as int64 (captions, max_tokens), padded at the end; all padding for none."""
        texts = [caption or "" for caption in captions]
        numbers = np.full((len(texts), self.max_tokens), PADDING, np.int64)
        for row, encoding in enumerate(self._tokenizer.encode_batch(texts)):
            if texts[row].strip():
                numbers[row, : len(encoding.ids)] = np.array(encoding.ids) + 1
        return numbers

    def save(self, folder: Path) -> None:
        self._tokenizer.save(str(folder / TOKENIZER))


Words = Vocabulary | Tokens


def words_of(description: Description, folder: Path) -> Words | None:
    """What makes numbers of captions for a network that was saved; None: it reads none.

    Args:
        folder: that of the network; a transformer's tokenizer is in ``transformer/`` below it.

    Raises:
        UserError: there is no tokenizer in it, or the library ``tokenizers`` is not installed.
    """
    if not description.reads_captions:
        return None
    if not description.has_transformer:
        return vocabulary.from_json(description.vocabulary)
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            "a network that reads captions by a transformer needs the library tokenizers: "
            "pip install 'tagloom[transformers]'"
        ) from error
    file = folder / TRANSFORMER / TOKENIZER
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{file} is no tokenizer ({error})") from error
    return Tokens(tokenizer, description.text["max_tokens"])
