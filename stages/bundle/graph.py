"""The network with all around it as an ONNX graph, whose weights lie in ``network.safetensors``.

ONNX's external data and safetensors keep numbers as the same bytes, so the graph points at those
that are there: the weights are in the bundle once. Half-precision ones become single ones as they
are loaded; all is computed in single precision.
"""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx.external_data_helper import set_external_data
from onnxscript import ir
from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass

from stages import UserError
from stages.bundle.inference import InferenceModule
from stages.bundle.recurrent import AsOnnx
from stages.network.nets.caption import CaptionEncoder

DTYPES = {"F32": np.float32, "F16": np.float16}  # safetensors' names; of no other are weights
EXAMPLE_ROWS, EXAMPLE_WORDS = 2, 4


class Kept(NamedTuple):
    """A tensor in a safetensors file: its numbers, and the byte that they begin at."""

    numbers: np.ndarray
    offset: int


def export(answer: InferenceModule) -> onnx.ModelProto:
    """``answer`` as a graph, its weights in it.

    Inputs are what the network takes of ``photos``, uint8 (n, stored size, stored size, 3), and
    ``words``, int64 (n, length), for any n and length it takes; the output is ``probabilities``,
    float32 (n, labels).

    Raises:
        UserError: the network holds something that has no counterpart in ONNX.
    """
    answer = copy.deepcopy(answer).cpu().float().requires_grad_(False)
    if isinstance(answer.network.captions, CaptionEncoder):
        answer.network.add_module("captions", AsOnnx(answer.network.captions))
    inputs, axes = examples(answer)
    try:
        program = torch.onnx.export(
            answer,
            kwargs=inputs,
            dynamic_shapes=axes,
            input_names=list(inputs),
            output_names=["probabilities"],
            dynamo=True,
            verbose=False,
            optimize=False,  # the runtime will, and the weights stay as they are
        )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(
            f"this network cannot be written as ONNX ({reason(error)}); set bundle.onnx to "
            "false, or take another train.backbone or train.text.transformer"
        ) from error
    assert program is not None  # as with dynamo=True it never is
    # Else every node tells the lines, and the folders, of the code that it comes from.
    ClearMetadataAndDocStringPass()(program.model)
    return ir.to_proto(program.model)


def write(model: onnx.ModelProto, file: Path, weights: Path | None = None) -> None:
    """Writes a graph, checked; with ``weights``, a safetensors file beside it, it points there.

    An initializer of the graph that ``weights`` holds, by its numbers, stays out of ``file``.
    """
    if weights is not None:
        _point_at(model.graph, weights)
    onnx.save(model, file)
    onnx.checker.check_model(str(file), full_check=True)


def examples(
    answer: InferenceModule, words: int | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, dict[int, Any]]]:
    """What ``answer`` takes, for an exporter to follow; and those axes that may be of any length.

    Args:
        words: how wide the rows of words are; None: of any width.
    """
    inputs: dict[str, torch.Tensor] = {}
    axes: dict[str, dict[int, Any]] = {}
    rows: Any = torch.export.Dim("n")
    if answer.description.sees_images:
        side = answer.description.stored_size
        inputs["photos"] = torch.zeros(EXAMPLE_ROWS, side, side, 3, dtype=torch.uint8)
        axes["photos"] = {0: rows}
        rows = torch.export.Dim.DYNAMIC  # the same; said twice, the exporter warns
    if answer.description.reads_captions:
        width = words or EXAMPLE_WORDS
        inputs["words"] = torch.ones(EXAMPLE_ROWS, width, dtype=torch.int64)
        most = getattr(answer.network.captions, "max_tokens", None)
        axes["words"] = {0: rows} | ({} if words else {1: torch.export.Dim("length", max=most)})
    return inputs, axes


def _point_at(graph: onnx.GraphProto, weights: Path) -> None:
    kept = {_key(each.numbers): each for each in _tensors(weights)}
    casts = []
    for tensor in graph.initializer:
        tensor_kept = kept.get(_key(onnx.numpy_helper.to_array(tensor)))
        if tensor_kept is None:
            continue
        if tensor_kept.numbers.dtype == np.float16:
            half = f"{tensor.name}.half"
            casts.append(
                onnx.helper.make_node("Cast", [half], [tensor.name], to=onnx.TensorProto.FLOAT)
            )
            tensor.name, tensor.data_type = half, onnx.TensorProto.FLOAT16
        set_external_data(tensor, weights.name, tensor_kept.offset, tensor_kept.numbers.nbytes)
        tensor.ClearField("raw_data")
    for cast in casts:
        graph.node.insert(0, cast)


def _tensors(file: Path) -> Iterator[Kept]:
    """Those of a safetensors file that are weights."""
    content = np.memmap(file, np.uint8, "r")
    # An eight-byte length, then so many bytes of JSON, then the tensors.
    start = 8 + int(content[:8].view("<u8")[0])
    for name, about in json.loads(content[8:start].tobytes()).items():
        if name != "__metadata__" and about["dtype"] in DTYPES:
            first, last = (start + offset for offset in about["data_offsets"])
            numbers = content[first:last].view(DTYPES[about["dtype"]])
            yield Kept(numbers.reshape(about["shape"]), first)


def _key(numbers: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """The same for the same numbers, be they in half or single precision."""
    content = np.ascontiguousarray(numbers, np.float32)
    return numbers.shape, hashlib.sha256(content.data).digest()


def reason(error: BaseException) -> str:
    """The first line of the deepest cause: those above it hold the exporter's advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]
