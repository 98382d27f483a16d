"""Weights of a backbone from a file, or from a hub that may be out of reach."""

from collections.abc import Mapping
from urllib.request import Request, urlopen

import torch
from torch import nn

from stages import UserError
from stages.files import project_root

HUB_ANSWERS = 10.0  # seconds; the libraries themselves would try for minutes


def reach(url: str) -> None:
    """Returns when the server of ``url`` answers; else raises an OSError within seconds."""
    with urlopen(Request(url, method="HEAD"), timeout=HUB_ANSWERS):
        pass


def read_state(weights: str) -> dict[str, torch.Tensor]:
    """The state dict in a file below the project, ``.safetensors`` or as ``torch.save`` writes it.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    path = project_root() / weights
    if not path.exists():
        raise UserError(f"train.weights {path} does not exist; it is none, pretrained or a file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many kinds for a file that is something else
        raise UserError(f"train.weights {path} holds no weights that can be read") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise UserError(f"train.weights {path} is no state dict (names to tensors)")
    return state


def load_state(
    network: nn.Module,
    state: Mapping[str, torch.Tensor],
    name: str,
    weights: str,
    head: str | None = None,
    optional: tuple[str, ...] = (),
) -> None:
    """Copies into the backbone ``name`` what it has of ``state``, which may hold more.

    Args:
        weights: where ``state`` is from, as in ``train.weights``.
        head: the layer that is taken off anyway: the file's may have another number of outputs.
        optional: how names begin that may be missing.

    Raises:
        UserError: something is missing, or has another shape.
    """
    wanted = {key for key in network.state_dict() if not (head and key.startswith(f"{head}."))}
    # What batch norm counts, which old files do not have, is not asked for again.
    spare = (key.startswith(optional) or key.endswith("num_batches_tracked") for key in wanted)
    needed = {key for key, is_spare in zip(wanted, spare, strict=True) if not is_spare}
    missing = sorted(needed - state.keys())
    if missing:
        raise UserError(
            f"train.weights {weights} is not of {name}: it lacks {missing[0]}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}"
        )
    try:
        network.load_state_dict({key: state[key] for key in wanted & state.keys()}, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"train.weights {weights} does not fit {name}: {reason}") from error
