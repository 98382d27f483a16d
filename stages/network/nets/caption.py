"""Captions to features: word vectors and a recurrent network over them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.vocab.vocabulary import FIRST_WORD

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class CaptionEncoder(nn.Module):
    """Word vectors → LSTM or GRU, in one direction or both → the largest state over the words.

    Args:
        vocabulary: how many word numbers there are; 0 is padding.
        encoder: ``lstm`` or ``gru``.
        embedding: size of a word's vector.
        hidden: size of the state, in each direction.
        dropout: of the words' vectors.

    Attributes:
        coverage: fraction of the words that started from a given vector.
    """

    def __init__(
        self,
        vocabulary: int,
        encoder: str,
        bidirectional: bool,
        embedding: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.coverage = 0.0
        self.vectors = nn.Embedding(vocabulary, embedding, padding_idx=0)
        # torch's own start, N(0, 1), drowns the differences that training makes: 1 % of F1 less.
        nn.init.normal_(self.vectors.weight[1:], std=0.3)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = CELLS[encoder](
            embedding, hidden, batch_first=True, bidirectional=bidirectional
        )
        self.features = hidden * (2 if bidirectional else 1)

    def start_from(self, vectors: Mapping[str, np.ndarray], words: Sequence[str]) -> None:
        """Sets the vectors of those of ``words`` that have one; float32 (embedding,) each."""
        known = [word in vectors for word in words]
        self.coverage = sum(known) / max(1, len(known))
        with torch.no_grad():
            for number, word in enumerate(words, FIRST_WORD):
                if word in vectors:
                    self.vectors.weight[number] = torch.from_numpy(vectors[word])

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """int64 (n, words), padded at the end, and their lengths (n,), on the CPU → (n, features).

        A caption without a word counts as one padding.
        """
        vectors = self.dropout(self.vectors(words))
        packed = pack_padded_sequence(
            vectors, lengths.clamp(min=1), batch_first=True, enforce_sorted=False
        )
        states, _ = self.recurrent(packed)
        padded, _ = pad_packed_sequence(states, batch_first=True, padding_value=float("-inf"))
        return padded.amax(dim=1)
