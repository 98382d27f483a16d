"""The values of Tagloom's own ``params.yaml``, which hold where nothing is proposed."""

import zipfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.params import PARAMS, load

ROOT = Path(__file__).parents[2]
# In an installed package; make wheel writes it, and experiments/template.py makes projects of it.
PACKED = ROOT / "experiments" / "template.zip"


def base() -> dict[str, Any]:
    """The content of ``params.yaml``, of the installed package or of this checkout."""
    if not PACKED.exists():
        return load(ROOT / PARAMS)
    with zipfile.ZipFile(PACKED) as files:
        content: dict[str, Any] = YAML(typ="safe", pure=True).load(files.read(str(PARAMS)))
    return content
