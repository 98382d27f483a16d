"""The section ``ingest.table`` of ``params.yaml``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.ingest.tables.cells import normal
from stages.params import Section

Texts = Annotated[list[str], Field(min_length=1)]
Scalars = list[bool | int | float | str]


class Options(Section):
    file: str | Texts
    validation: str | Texts | None
    test: str | Texts | None
    photos: str | Texts
    pattern: str
    image: str | None
    id: str | None
    labels: str | Texts | None
    exclude: Texts | None
    names: Texts | None
    long: bool
    value: str | None
    absent: Literal["negative", "unknown"]
    positive: Scalars
    negative: Scalars
    unknown: Scalars
    bounds: tuple[float, float] | None
    caption: str | None
    subset: str | None
    group: str | None
    time: str | None
    duplicates: Literal["refuse", "merge", "first"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None
    encoding: str | None
    separator: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        key = "ingest.table"
        if self.pattern.count("{id}") + self.pattern.count("{stem}") != 1:
            raise ValueError(
                f"{key}.pattern is {self.pattern!r}; it must hold {{id}} or {{stem}}, once"
            )
        if self.subset and (self.validation or self.test):
            other = "validation" if self.validation else "test"
            raise ValueError(
                f"{key}.subset and {key}.{other} both say of which part a photo is; set one to null"
            )
        if self.exclude and self.labels is not None:
            raise ValueError(f"{key}.exclude has no effect but with {key}.labels null")
        if self.long and not isinstance(self.labels, str):
            raise ValueError(f"{key}.long needs {key}.labels, the column with the name of a label")
        if self.value and not self.long:
            raise ValueError(f"{key}.value has no effect but with {key}.long true")
        if self.id is None and self.image is None:
            raise ValueError(f"{key}.id names no column; only photos in {key}.image can do without")
        meanings = (("positive", self.positive), ("negative", self.negative))
        said: dict[str, str] = {}
        for name, values in (*meanings, ("unknown", self.unknown)):
            for value in map(normal, values):
                if said.setdefault(value, name) != name:
                    raise ValueError(f"{key}.{said[value]} and {name} both have {value!r}")
        if self.long and self.image:
            raise ValueError(f"{key}.image needs a row a photo, but {key}.long is true")
        if self.bounds and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"{key}.bounds are {list(self.bounds)}; the first must be lower")
        return self

    @property
    def files(self) -> list[tuple[str, str]]:
        """Patterns of files, each with the part of its photos: train, validation or test."""
        parts = {"train": self.file, "validation": self.validation, "test": self.test}
        return [
            (pattern, part)
            for part, given in parts.items()
            for pattern in ([given] if isinstance(given, str) else given or [])
        ]

    @property
    def folders(self) -> list[str]:
        """Of photos."""
        return [self.photos] if isinstance(self.photos, str) else self.photos

    @property
    def named(self) -> list[str]:
        """The columns that have a part of their own, labels among them."""
        own = (self.id, self.image, self.caption, self.subset, self.group, self.time, self.value)
        labels = self.labels or [] if not isinstance(self.labels, str) else [self.labels]
        return list(dict.fromkeys([*filter(None, own), *labels, *(self.exclude or [])]))
