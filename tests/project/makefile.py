"""What the Makefile's targets are."""

import re

from tests.conftest import ROOT

RULES = dict(re.findall(r"^([a-z]+):([^#\n=]*)", (ROOT / "Makefile").read_text("utf-8"), re.M))
TARGETS = RULES.keys()
