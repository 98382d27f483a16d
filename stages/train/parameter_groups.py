"""A network's weights in groups of one rate and one decay each, as torch's optimisers take them."""

from typing import Any

from torch import nn

from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.transformer import TransformerEncoder
from stages.train.params import Train


def parameter_groups(network: Classifier, params: Train) -> list[dict[str, Any]]:
    """All weights that learn, or may learn later by gradual unfreezing.

    The first group holds the weights that started at random; their rate is ``train.lr``.
    """
    pretrained = pretrained_rates(network, params)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for weight in network.parameters():
        if weight.requires_grad or params.unfreeze:
            # Norms and biases are the weights with one axis.
            spared = params.decay == "weights" and weight.ndim < 2
            groups.setdefault((pretrained.get(id(weight), 1.0), spared), []).append(weight)
    decays = {False: params.weight_decay, True: 0.0}
    return [
        {"params": weights, "lr": params.lr * rate, "weight_decay": decays[spared]}
        for (rate, spared), weights in sorted(
            groups.items(), key=lambda item: (-item[0][0], item[0][1])
        )
    ]


def pretrained_rates(network: Classifier, params: Train) -> dict[int, float]:
    """The rates of weights that came with the network, by their ``id``, as fractions of ``lr``.

    Each layer's is ``train.layer_decay`` of that above it, and the topmost one's of what a part
    without layers would have (Clark et al., ELECTRA, 2020, and Bao et al., BEiT, 2022). What lies
    in no layer learns like the layer before it; what comes before all, embeddings, positions and
    the like, like one more layer.
    """
    rates: dict[int, float] = {}
    for part in network.pretrained_parts():
        layers, rate = _layers(part), params.pretrained_lr
        if isinstance(part, TransformerEncoder) and params.transformer_lr is not None:
            rate = params.transformer_lr
        places = {id(w): place for place, layer in enumerate(layers) for w in layer.parameters()}
        below_top = len(layers) + 1
        for weight in part.parameters():
            if id(weight) in places:
                below_top = len(layers) - places[id(weight)]
            rates[id(weight)] = rate * params.layer_decay**below_top
    return rates


def _layers(part: nn.Module) -> list[nn.Module]:
    """Of a backbone or a transformer, from the input to the features."""
    return list(part.layers()) if isinstance(part, TransformerEncoder) else backbones.parts(part)
