"""The backbone by ``torch.compile``, where that works: fewer and larger kernels on a GPU."""

from collections.abc import Callable

import torch

from stages import printable
from stages.network.batches import Rows
from stages.network.nets.classifier import Classifier
from stages.train.recipe import Optimization

Backend = str | Callable[..., object]


def compile_on_gpu(
    network: Classifier, rows: Rows, side: int, optimization: Optimization, devices: int
) -> None:
    """Compiles the backbone, if photos go through one, where there is a GPU; else says so.

    Args:
        rows: to train on; those that bring features do not need the backbone.
        side: height and width of photos as the network sees them, in pixels.
    """
    if rows.store is None or rows.features is not None:
        print("train: train.compile has nothing to do, since no photo goes through the backbone")
        return
    if optimization.device.type != "cuda":
        print("train: train.compile is for GPUs, and torch sees none; going on without it")
        return
    params = optimization.params
    photos = -(-params.batch_size // (devices * params.accumulate))
    images = torch.zeros(photos, 3, side, side, device=optimization.device)
    images = images.to(memory_format=torch.channels_last)
    compile_backbone(network, images, optimization.autocast)


def compile_backbone(
    network: Classifier,
    images: torch.Tensor,
    autocast: Callable[[], torch.autocast],
    backend: Backend = "inductor",
) -> None:
    """Compiles the network's backbone in place; where that fails, says why and leaves it as it is.

    It is tried out at once, in training and in evaluation, so that nothing fails later on. What
    batch norm has seen is forgotten again.

    Args:
        images: as those that it will be given, float (n, 3, h, w); what they show is of no matter.
        backend: one of torch's.
    """
    backbone = network.backbone
    assert backbone is not None
    kept = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    try:
        backbone.compile(backend=backend)
        network.train()
        with autocast():
            features = backbone(images)
        answers = [*features] if isinstance(features, tuple) else [features]
        if any(answer.requires_grad for answer in answers):
            torch.stack([answer.float().sum() for answer in answers]).sum().backward()
        network.eval()
        with torch.inference_mode(), autocast():
            backbone(images)
    except Exception as error:  # compilers raise many kinds
        backbone._compiled_call_impl = None
        cause = getattr(error, "inner_exception", error)  # of torch's own, what a back end raised
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        print(f"train: torch.compile fails ({printable(reason)}); going on without train.compile")
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in backbone.named_buffers():
                buffer.copy_(kept[name])
