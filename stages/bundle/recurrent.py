"""The recurrent caption encoder without packed sequences, which no exporter knows."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from stages.network.nets.caption import CaptionEncoder

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
# As functions: export stumbles over the modules' lists of their own weights.
CELLS: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {"LSTM": torch.lstm, "GRU": torch.gru}
# Where torch keeps the gates that ONNX wants in this order: i, o, f, c and z, r, h.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


class Unpacked(nn.Module):
    """What a ``CaptionEncoder`` computes, over rows of one length.

    What is behind a caption's words does not change the states of its words when it is read
    forwards. Backwards, each caption is turned round by its own length first, and its states back.
    """

    def __init__(self, encoder: CaptionEncoder) -> None:
        super().__init__()
        whole = encoder.recurrent
        self.vectors, self.mode, self.size = encoder.vectors, whole.mode, whole.hidden_size
        self.directions = nn.ModuleList(
            nn.ParameterList(getattr(whole, f"{name}{direction}") for name in WEIGHTS)
            for direction in (("", "_reverse") if whole.bidirectional else ("",))
        )

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """int64 (n, words), padded at the end, and their lengths (n,) → (n, features)."""
        # As in CaptionEncoder, a caption without a word counts as one padding.
        lengths = lengths.clamp(min=1)
        states = self._states(self.vectors(words), lengths)
        places = torch.arange(words.shape[1], device=words.device)
        behind = (places >= lengths[:, None])[:, :, None]
        return states.masked_fill(behind, float("-inf")).amax(dim=1)

    def _states(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """float32 (n, words, size of a vector) → (n, words, features)."""
        forwards, *turning = self._weights()
        states = [self._run(vectors, forwards)]
        for backwards in turning:
            places, ends = torch.arange(vectors.shape[1])[None], lengths[:, None]
            turned = torch.where(places < ends, ends - 1 - places, places)[:, :, None]
            turned_states = self._run(vectors.gather(1, turned.expand_as(vectors)), backwards)
            states.append(turned_states.gather(1, turned.expand_as(turned_states)))
        return torch.cat(states, dim=2)

    def _weights(self) -> list[list[nn.Parameter]]:
        """Those that ``WEIGHTS`` names, of each direction."""
        return [list(each.parameters()) for each in self.directions]

    def _run(self, vectors: torch.Tensor, weights: Iterable[nn.Parameter]) -> torch.Tensor:
        start = vectors.new_zeros(1, vectors.shape[0], self.size)
        starts = (start, start) if self.mode == "LSTM" else start
        options = {"has_biases": True, "num_layers": 1, "dropout": 0.0, "train": False}
        cell = CELLS[self.mode]
        return cell(
            vectors, starts, list(weights), **options, bidirectional=False, batch_first=True
        )[0]


class AsOnnx(Unpacked):
    """The same by ONNX's own operators, which take the lengths; only to be exported to ONNX."""

    def _states(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        rows, words, _ = vectors.shape
        count = len(self.directions)
        inputs, recurrent, biases = (
            torch.stack([torch.cat([self._gates(w[i]) for i in places]) for w in self._weights()])
            for places in ((0,), (1,), (2, 3))
        )
        options = {"hidden_size": self.size}
        if count == 2:
            options["direction"] = "bidirectional"
        if self.mode == "GRU":
            options["linear_before_reset"] = 1
        given = (vectors.transpose(0, 1), inputs, recurrent, biases, lengths.to(torch.int32))
        states = torch.onnx.ops.symbolic(
            self.mode,
            given,
            options,
            dtype=vectors.dtype,
            shape=(words, count, rows, self.size),
            version=14,
        )
        return states.permute(2, 0, 1, 3).flatten(2)

    def _gates(self, weight: torch.Tensor) -> torch.Tensor:
        parts = weight.chunk(len(GATES[self.mode]))
        return torch.cat([parts[place] for place in GATES[self.mode]])
