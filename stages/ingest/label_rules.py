"""What the labels of a source are called here, and which count; the same for all sources.

The rules hold in this order: ``ingest.rename`` gives labels other names, the same name to several
to make one of them; ``ingest.none`` has the names which say that a photo has no label, and
``ingest.ignore`` those which do not count. A photo that has no other labels is known to have none.
"""

from collections.abc import Iterable, Iterator

from stages.ingest.params import Ingest
from stages.ingest.sources import Row, Unreadable

Labels = tuple[list[str] | None, tuple[str, ...]]  # those of a photo, and those that are unknown


class LabelRules:
    """The rules that the options give."""

    def __init__(self, params: Ingest) -> None:
        self._renamed = params.rename or {}
        self._none = frozenset(params.none or ())
        others = params.ignore == "others"
        self._ignored = self._none.union(() if others else params.ignore or ())
        self._chosen = frozenset(params.labels or ()) if others else None
        self._unused = {*self._renamed, *self._ignored}
        self._are_any = bool(self._unused) or others
        self._results: dict[tuple[tuple[str, ...], tuple[str, ...]], Labels] = {}

    def __call__(self, names: Iterable[str] | None, unknown: Iterable[str] = ()) -> Labels:
        """The labels of a photo, None where they are not known, and those that are unknown.

        Both come by their new names. A photo that has one of several labels that are made one, has
        that; one that has a label of ``ingest.none`` is known to lack those that were unknown.
        """
        if names is None:
            return None, ()
        given = (tuple(names), tuple(unknown))
        if given not in self._results:
            self._results[given] = self._apply(*given)
        return self._results[given]

    def of_rows(self, rows: Iterator[Row | Unreadable]) -> Iterator[Row | Unreadable]:
        """``rows`` with their labels after the rules."""
        return map(self._of_row, rows) if self._are_any else rows

    def _of_row(self, row: Row | Unreadable) -> Row | Unreadable:
        if isinstance(row, Unreadable):
            return row
        labels, unknown = self(row.labels, row.unknown)
        return row._replace(labels=labels, unknown=unknown)

    def _apply(self, names: tuple[str, ...], unknown: tuple[str, ...]) -> Labels:
        has, unsure = (
            list(dict.fromkeys(self._renamed.get(name, name) for name in some))
            for some in (names, unknown)
        )
        self._unused -= {*names, *unknown, *has, *unsure}
        if self._none.intersection(has):
            unsure = []
        return self._that_count(has), tuple(
            self._that_count(name for name in unsure if name not in has)
        )

    def _that_count(self, names: Iterable[str]) -> list[str]:
        chosen = self._chosen
        return [
            name
            for name in names
            if name not in self._ignored and (chosen is None or name in chosen)
        ]

    @property
    def unused(self) -> list[str]:
        """The labels that rules name and no photo has had, such as misspelt ones."""
        return sorted(self._unused)
