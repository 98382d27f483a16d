"""The model of a bundle for other programs: one file that holds all, weights included.

What comes in and out is as in ``stages.bundle.inference``: photos as bytes, words as numbers,
calibrated probabilities, in single precision. How captions become numbers, and thresholds, are in
the bundle.
"""

import copy
from pathlib import Path

import torch

from stages import UserError
from stages.bundle import graph
from stages.bundle.bundle import Bundle
from stages.bundle.inference import InferenceModule
from stages.bundle.recurrent import Unpacked
from stages.files import whole
from stages.network.nets.caption import CaptionEncoder
from stages.network.tokens import words_of


def to_onnx(bundle: Bundle, file: Path) -> None:
    """Writes an ONNX file for any number of photos; inputs as ``stages.bundle.graph`` has them.

    Raises:
        UserError: the network has no counterpart in ONNX.
    """
    model = graph.export(_answer(bundle))
    with whole(file) as temporary:
        graph.write(model, temporary)


def to_torch_export(bundle: Bundle, file: Path) -> None:
    """Writes what ``torch.export.load`` reads, for any number of photos.

    Its module takes ``photos`` and ``words`` by name. For a recurrent encoder ``words`` is as wide
    as ``Vocabulary.encode`` makes it; for a transformer it may be narrower.

    Raises:
        UserError: the network cannot be followed by ``torch.export``.
    """
    answer, fixed = copy.deepcopy(_answer(bundle)).requires_grad_(False), None
    if isinstance(answer.network.captions, CaptionEncoder):
        answer.network.add_module("captions", Unpacked(answer.network.captions))
        fixed = bundle.description.vocabulary["max_length"]  # its loop is unrolled
    examples, axes = graph.examples(answer, fixed)
    try:
        program = torch.export.export(answer, (), examples, dynamic_shapes=axes)
    except Exception as error:  # each part of it raises its own
        raise UserError(
            f"this network cannot be followed by torch.export ({graph.reason(error)})"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the lines, and the folders, of this code
    with whole(file) as temporary:
        torch.export.save(program, temporary)


def _answer(bundle: Bundle) -> InferenceModule:
    return InferenceModule.of(bundle, words_of(bundle.description, bundle.folder))
