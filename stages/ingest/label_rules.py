"""What the labels of a source are called here, and which count; the same for all sources.

The rules hold in this order: ``ingest.rename`` gives labels other names, the same name to several
to make one of them; ``ingest.none`` has the names which say that a photo has no label, and
``ingest.ignore`` those which do not count. A photo that has no other labels is known to have none.
"""

from collections.abc import Iterable, Iterator

from stages.ingest.params import Ingest

Names = tuple[str, ...]


class LabelRules:
    """The rules that the options give; false where there are none."""

    def __init__(self, params: Ingest) -> None:
        self._renamed = params.rename or {}
        self._none = frozenset(params.none or ())
        others = params.ignore == "others"
        self._ignored = self._none.union(() if others else params.ignore or ())
        self._chosen = frozenset(params.labels or ()) if others else None
        self._unused = {*self._renamed, *self._ignored}
        self._are_any = bool(self._unused) or others

    def __bool__(self) -> bool:
        return self._are_any

    def __call__(self, names: Names | None, unknown: Names = ()) -> tuple[Names | None, Names]:
        """The labels of a photo, None where they are not known, and those that are unknown.

        Names are clean, each once. A photo that has one of several labels that are made one, has
        that; one that has a label of ``ingest.none`` is known to lack those that were unknown.
        """
        if not self._are_any or names is None:
            return names, unknown
        has, unsure = self._by_new_names(names), self._by_new_names(unknown)
        self._unused -= {*names, *unknown, *has, *unsure}
        if self._none.intersection(has):
            unsure = []
        return self._that_count(has), self._that_count(name for name in unsure if name not in has)

    def _by_new_names(self, names: Names) -> list[str]:
        return list(dict.fromkeys(self._renamed.get(name, name) for name in names))

    def _that_count(self, names: Iterable[str]) -> Names:
        chosen = self._chosen
        return tuple(
            name
            for name in names
            if name not in self._ignored and (chosen is None or name in chosen)
        )

    def warnings(self) -> Iterator[str]:
        """Says which labels the rules name and no photo has had, such as misspelt ones."""
        if self._unused:
            names = ", ".join(sorted(self._unused))
            yield f"ingest.rename, none and ignore name labels that no photo has: {names}"
