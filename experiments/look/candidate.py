"""A way to read a folder, before it is known whether it does."""

from typing import Any, NamedTuple


class Candidate(NamedTuple):
    """A section ``ingest`` that may read a folder.

    Attributes:
        shape: what the folder then is, for people.
        rank: how much it takes for this to look so by chance; that of more is believed.
        source: ``ingest.source``.
        options: of that source, all of them.
        why: a word on each option that something speaks for.
        more: other keys of ``ingest``, each with a word on it.
        doubts: what may be meant otherwise, and the line that says so.
    """

    shape: str
    rank: int
    source: str
    options: dict[str, Any]
    why: dict[str, str]
    more: dict[str, tuple[Any, str]] = {}  # noqa: RUF012  # never altered
    doubts: tuple[str, ...] = ()

    @property
    def ingest(self) -> dict[str, Any]:
        """The section ``ingest``, without its root."""
        others = {key: value for key, (value, _) in self.more.items()}
        return {"source": self.source} | others | {self.source: self.options}

    @property
    def reasons(self) -> dict[str, str]:
        """Why each value is as it is, by its whole key."""
        of_options = {
            f"ingest.{self.source}.{key}": self.why[key]
            for key in self.options.keys() & self.why.keys()
        }
        others = {f"ingest.{key}": why for key, (_, why) in self.more.items() if why}
        return {"ingest.source": self.shape} | others | of_options


# Of ranks, from what many a folder looks like to what only one kind of export does.
SHARES, UNSURE, FOLDERS, CLASS_FILES, TABLE, LISTS, ANNOTATIONS = range(7)
