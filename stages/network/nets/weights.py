"""Weights of a backbone from a file, or from a hub that may be out of reach."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from stages import UserError
from stages.files import project_root

WITHIN = ("state_dict", "model")  # names of the state dict in checkpoints
WRAPPED = ("module.", "_orig_mod.")  # by DataParallel and its like, by torch.compile
HUB_ANSWERS = 10.0  # seconds; the libraries themselves would try for minutes


def reach(url: str) -> None:
    """Returns when the server of ``url`` answers; else raises an OSError within seconds."""
    with urlopen(Request(url, method="HEAD"), timeout=HUB_ANSWERS):
        pass


def read_state(weights: str) -> dict[str, torch.Tensor]:
    """The state dict in a file below the project, ``.safetensors`` or as ``torch.save`` writes it.

    One that lies in a training's checkpoint, or is of a network wrapped to train on several GPUs
    or compiled, is taken out of that.

    Raises:
        UserError: there is no such file, it holds something else, or numbers that are none.
    """
    path = project_root() / weights
    if not path.exists():
        raise UserError(f"train.weights {path} does not exist; it is none, pretrained or a file")
    state: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many kinds for a file that is something else
        if "Unsupported global" in str(error):
            raise UserError(
                f"train.weights {path} holds objects, as a whole network, which are code and are "
                "not run; where it was made, save its weights: torch.save(net.state_dict(), FILE)"
            ) from error
        raise UserError(f"train.weights {path} holds no weights that can be read") from error
    while isinstance(state, dict) and (inner := [name for name in WITHIN if name in state]):
        state = state[inner[0]]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise UserError(f"train.weights {path} is no state dict (names to tensors)")
    for prefix in WRAPPED:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise UserError(f"train.weights {path}: {name} is not all numbers (NaN or infinite)")
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
        UserError: something is missing, has another shape, or is of layers that the backbone lacks:
            then it is of a larger sister of it.
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
    modules = {name for name, _ in network.named_modules() if name}
    for key in sorted(state.keys() - wanted):
        if _is_within(key, modules) and not (head and key.startswith(f"{head}.")):
            raise UserError(
                f"train.weights {weights} is not of {name}: it has {key}, of a layer that {name} "
                "lacks"
            )
    try:
        network.load_state_dict({key: state[key] for key in wanted & state.keys()}, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"train.weights {weights} does not fit {name}: {reason}") from error


def _is_within(key: str, modules: set[str]) -> bool:
    """Whether a tensor is of no module, but would be somewhere within one.

    Heads and decoders that stand beside a backbone are not; nor are tensors of its own modules,
    which other versions keep.
    """
    module = key.rpartition(".")[0]
    return module not in modules and key.partition(".")[0] in modules


def first_line(error: object) -> str:
    """Of what an error says; the name of its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shapes_of(file: Path) -> dict[str, torch.Size]:
    """Of the tensors in a file, ``.safetensors``, which stays unread but for its beginning."""
    with safe_open(file, "pt") as weights:
        return {name: torch.Size(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


@contextmanager
def no_more_than(shapes: Mapping[str, torch.Size], file: Path) -> Iterator[None]:
    """Ends the block as soon as the modules that it builds hold much more than the weights do.

    So a description of billions of numbers or layers takes neither memory nor time: a module's
    numbers are written after they are registered, and before that take no memory.

    Args:
        shapes: of the weights in ``file``. Heads that are built and taken off may come to as much
            again, and where the weights are small to more.

    Raises:
        UserError: they do.
    """
    numbers = 2 * sum(shape.numel() for shape in shapes.values()) + 10**7
    tensors = 2 * len(shapes) + 100

    def count(module: nn.Module, name: str, parameter: torch.Tensor | None) -> None:
        nonlocal numbers, tensors
        numbers, tensors = numbers - (0 if parameter is None else parameter.numel()), tensors - 1
        if numbers < 0 or tensors < 0:
            raise UserError(f"{file} is not of the network described: that is far larger")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
