"""The section ``bundle`` of ``params.yaml``: what is shipped."""

from typing import Literal

from stages.params import Fraction, Section


class Bundle(Section):
    onnx: bool
    precision: Literal["auto", "float32", "float16"]
    tolerance: Fraction
