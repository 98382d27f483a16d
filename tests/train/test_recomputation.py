"""What is computed again is the same again."""

import copy

import pytest
import torch

from stages.network.batches import Batch
from stages.network.nets import backbones, transformer
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Concat
from stages.train.recomputation import recompute_parts
from tests.network import tiny_bert


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A backbone with batch norm and a transformer with dropout."""
    torch.manual_seed(0)
    backbone, features = backbones.build("small_cnn", 16)
    encoder, _ = transformer.pretrained(str(tiny_bert.write(tmp_path_factory.mktemp("bert"))))
    fusion = Concat(torch.nn.Linear(features + encoder.features, 3), 0.2, torch.nn.Identity())
    return Classifier(backbone, torch.nn.Identity(), encoder, fusion)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    words = torch.tensor([[2, 3, 4], [2, 4, 0]])
    images = torch.randn(2, 3, 16, 16, generator=generator)
    return Batch(images, None, words, (words != 0).sum(dim=1), None)


def passed(network: Classifier) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], int]:
    """Gradients and state after a pass there and back, and how much was kept for the way back."""
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    torch.manual_seed(2)
    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(batch()).logits.square().sum()
    loss.backward()
    gradients = {name: w.grad for name, w in network.named_parameters() if w.grad is not None}
    return gradients, network.state_dict(), kept


def test_gradients_and_running_statistics_are_those_without(network: Classifier):
    plain, again = copy.deepcopy(network), copy.deepcopy(network)
    recompute_parts(again)
    copied = copy.deepcopy(again)  # as the average of the weights is
    expected, state, kept = passed(plain)
    for each in (again, copied):
        gradients, after, less = passed(each)
        assert gradients.keys() == expected.keys()
        assert all(torch.equal(gradients[name], expected[name]) for name in expected)
        assert after.keys() == state.keys()
        assert all(torch.equal(after[name], state[name]) for name in state)
        assert less < kept / 2
    again.eval()
    plain.eval()
    with torch.inference_mode():
        assert torch.equal(again(batch()).logits, plain(batch()).logits)
