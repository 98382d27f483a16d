"""Looks at a folder of photos and says what it is, and the lines of ``params.yaml`` that read it.

Modules of the shapes propose sections ``ingest``, by what is cheap to see: names of files, columns
whose cells are names of photos. Each is then tried: the listing of the stage ingest itself says
which photos and labels it would read (``verified``). What lists most photos, and least by chance,
is believed; what else could be meant is said. Nothing is asked, and nothing of the folder written.
"""

from experiments.look.looked import Look, look
from experiments.look.page import lines, write_sheet

__all__ = ["Look", "lines", "look", "write_sheet"]
