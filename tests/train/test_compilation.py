"""torch.compile where it works, and a word where it does not."""

import copy

import pytest
import torch

from stages.network.batches import Rows
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Concat
from stages.network.precision import autocast
from stages.train.compilation import compile_backbone, compile_on_gpu
from stages.train.recipe import Optimization
from tests.train.test_recipe import changed

SINGLE = autocast(torch.device("cpu"), "fp32")


@pytest.fixture
def network() -> Classifier:
    torch.manual_seed(0)
    backbone, features = backbones.build("small_cnn", 16)
    return Classifier(
        backbone,
        torch.nn.Identity(),
        None,
        Concat(torch.nn.Linear(features, 3), 0.0, torch.nn.Identity()),
    )


def images() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_a_compiled_backbone_gives_the_same_and_starts_where_it_was(network: Classifier, capsys):
    plain = copy.deepcopy(network)
    compile_backbone(network, images(), SINGLE, backend="eager")
    assert network.backbone._compiled_call_impl is not None
    assert capsys.readouterr().out == ""
    state = plain.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    answers = [each.backbone.train()(images()) for each in (network, plain)]
    assert torch.allclose(*answers, atol=1e-6)
    for answer in answers:
        answer.square().sum().backward()
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.allclose(one.grad, other.grad, atol=1e-4)


def test_a_compiler_that_fails_is_said_and_training_goes_on(network: Classifier, capsys):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    plain = copy.deepcopy(network)
    compile_backbone(network, images(), SINGLE, backend=broken)
    said = capsys.readouterr().out
    assert said.startswith("train: torch.compile fails (")
    assert "no compiler here" in said
    assert said.count("\n") == 1
    assert network.backbone._compiled_call_impl is None
    assert torch.equal(network.backbone.train()(images()), plain.backbone.train()(images()))


@pytest.mark.parametrize("features", [None, [[0.0]]])
def test_where_there_is_nothing_to_compile_for_it_is_said(network: Classifier, features, capsys):
    if torch.cuda.is_available() and features is None:
        pytest.skip("there is a GPU")
    optimization = Optimization(network, changed(compile=True), torch.ones(2, 3), 9)
    rows = Rows(object(), torch.zeros(1), None, None, features=features)  # neither is looked into
    compile_on_gpu(network, rows, 16, optimization, devices=1)
    assert capsys.readouterr().out.startswith("train: train.compile ")
    assert network.backbone._compiled_call_impl is None


@pytest.mark.gpu
def test_on_a_gpu_it_is_compiled(network: Classifier, capsys):
    optimization = Optimization(network.cuda(), changed(compile=True), torch.ones(2, 3), 9)
    rows = Rows(object(), torch.zeros(1), None, None)
    compile_on_gpu(network, rows, 16, optimization, devices=1)
    assert capsys.readouterr().out == ""
    assert network.backbone._compiled_call_impl is not None
