"""Where a backbone keeps maps of the photo: found by running it once, not configured.

Photos are square, and so are their maps. That tells a map, (n, channels, side, side), from one
whose channels come last, (n, side, side, channels), and both from the tokens of a transformer,
(n, tokens, channels), of which a few before those of the photo's places are of none.
"""

from dataclasses import dataclass
from math import isqrt
from typing import Literal

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge


@dataclass(frozen=True)
class Layer:
    """A module whose output is a map of the photo, and the only way from there to the features.

    Attributes:
        name: of the module in the backbone.
        side: height and width of the map.
        axes: how the module lays it out: channels first, channels last, or as tokens.
        prefix: tokens before those of the map.
    """

    name: str
    side: int
    axes: Literal["nchw", "nhwc", "ntc"] = "nchw"
    prefix: int = 0

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """The module's output, or a gradient of it → (n, channels, side, side)."""
        if self.axes == "nhwc":
            return output.permute(0, 3, 1, 2)
        if self.axes == "ntc":
            tokens = output[:, self.prefix :].transpose(1, 2)
            return tokens.unflatten(2, (self.side, self.side))
        return output


def find(backbone: nn.Module, input_size: int) -> list[Layer]:
    """The last layer of each side larger than 1, in the order in which they run.

    A branch of a block is no layer: only what all paths from the photo to the features pass
    through counts. Nor is a patch embedding, which has not looked at the photo yet: the last
    layer must lie in the later half of the run.

    Args:
        backbone: in eval mode; maps (n, 3, input_size, input_size) to (n, features), or to
            (n, places, features).

    Returns:
        The layers; none for a backbone that keeps no maps.
    """
    prefix = getattr(backbone, "num_prefix_tokens", int(hasattr(backbone, "class_token")))
    outputs: dict[str, tuple[GradientEdge, Layer, int]] = {}  # in the order of the last calls
    calls = 0

    def watch(name: str):
        def hook(module: nn.Module, _: object, output: object) -> None:
            nonlocal calls
            calls += next(module.children(), None) is None
            outputs.pop(name, None)
            if torch.is_tensor(output) and output.requires_grad:
                layer = _layer(name, output.shape, prefix)
                if layer is not None:
                    outputs[name] = get_gradient_edge(output), layer, calls

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
    for edge, layer, call in reversed(outputs.values()):
        if (
            layer.side not in last
            and _only_way(end, edge.node, start)
            and _counts(features, edge, layer)
        ):
            last[layer.side] = layer, call
    in_order = sorted(last.values(), key=lambda each: each[1])
    if not in_order or in_order[-1][1] < calls / 2:
        return []
    return [layer for layer, _ in in_order]


def _layer(name: str, shape: torch.Size, prefix: int) -> Layer | None:
    """The layer whose output has that shape; None: it is no map."""
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return Layer(name, shape[3])
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return Layer(name, shape[2], "nhwc")
    side = isqrt(max(0, shape[1] - prefix)) if len(shape) == 3 else 0
    if side > 1 and side**2 == shape[1] - prefix:
        return Layer(name, side, "ntc", prefix)
    return None


def _counts(features: torch.Tensor, edge: GradientEdge, layer: Layer) -> bool:
    """Whether the features hang on the map: behind the last attention only a class token may."""
    if not layer.prefix:
        return True
    # Not the plain sum, which is always the same behind layer norm.
    mixed = features @ torch.linspace(-1, 1, features.shape[-1], device=features.device)
    (gradient,) = torch.autograd.grad(mixed.sum(), [edge], retain_graph=True)
    return bool(layer.maps(gradient).any())


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
