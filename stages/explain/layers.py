"""Where a backbone keeps maps of the photo: found by running it once, not configured.

Photos are square, and so are their maps. That tells a map, (n, channels, side, side), from the
outputs of networks that keep the channels last, (n, side, side, channels).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.graph import Node, get_gradient_edge


@dataclass(frozen=True)
class Layer:
    """A module whose output is a map of the photo, and the only way from there to the features.

    Attributes:
        name: of the module in the backbone.
        side: height and width of the map.
    """

    name: str
    side: int


def find(backbone: nn.Module, input_size: int) -> list[Layer]:
    """The last layer of each side larger than 1, in the order in which they run.

    A branch of a block is no layer: only what all paths from the photo to the features pass
    through counts. Nor is a patch embedding, the one map that a vision transformer has: the last
    layer must lie in the later half of the run.

    Args:
        backbone: in eval mode; maps (n, 3, input_size, input_size) to (n, features).

    Returns:
        The layers; none for a backbone that keeps no maps.
    """
    outputs: dict[str, tuple[Node, int, int]] = {}  # by name, in the order of the last calls
    calls = 0

    def watch(name: str):
        def hook(module: nn.Module, _: object, output: object) -> None:
            nonlocal calls
            calls += next(module.children(), None) is None
            outputs.pop(name, None)
            if torch.is_tensor(output) and output.ndim == 4 and output.requires_grad:
                height, width = output.shape[2:]
                if height == width > 1:
                    outputs[name] = get_gradient_edge(output).node, width, calls

        return hook

    hooks = [m.register_forward_hook(watch(name)) for name, m in backbone.named_modules() if name]
    try:
        with torch.enable_grad():
            device = next(backbone.parameters()).device
            photo = torch.zeros(1, 3, input_size, input_size, device=device, requires_grad=True)
            features = backbone(photo)
    finally:
        for each in hooks:
            each.remove()

    start, end = get_gradient_edge(photo).node, get_gradient_edge(features).node
    last: dict[int, tuple[Layer, int]] = {}  # by side
    for name, (node, side, call) in reversed(outputs.items()):
        if side not in last and _only_way(end, node, start):
            last[side] = Layer(name, side), call
    in_order = sorted(last.values(), key=lambda each: each[1])
    if not in_order or in_order[-1][1] < calls / 2:
        return []
    return [layer for layer, _ in in_order]


def _only_way(end: Node, node: Node, start: Node) -> bool:
    """Whether every path of the graph from ``end`` back to ``start`` passes ``node``."""
    seen, ahead = {node}, [end]
    while ahead:
        here = ahead.pop()
        if here is start:
            return False
        if here not in seen:
            seen.add(here)
            ahead += [before for before, _ in here.next_functions if before is not None]
    return True
