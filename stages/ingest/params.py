"""The section ``ingest`` of ``params.yaml``: what comes in."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from stages.ingest import naming
from stages.ingest.form import Codec, Depth, Fit, Form, Side
from stages.params import Fraction, Section, unknown

Names = Annotated[list[str], Field(min_length=1)]


class Ingest(Section):
    """What comes in. A source's own options stand in a section named after it.

    Those are kept as they are (``source_options``): the source's module checks them.
    """

    model_config = ConfigDict(extra="allow")

    source: str
    root: str
    deliveries: str | None
    corrections: str
    image_size: Side
    fit: Fit
    store: Codec
    depth: Depth
    labels: Names | None
    rename: dict[str, str] | None
    none: Names | None
    ignore: Literal["others"] | Names | None
    max_rejected: Fraction

    @model_validator(mode="before")
    @classmethod
    def _sections_belong_to_sources(cls, section: Any) -> Any:
        sources = source_names()
        known = [*cls.model_fields, *sources]
        for key in section if isinstance(section, dict) else ():
            if key not in known:
                raise ValueError(unknown(f"ingest.{key}", [f"ingest.{name}" for name in known]))
        if isinstance(section, dict) and section.get("source") not in [None, *sources]:
            raise ValueError(
                f"ingest.source is {section['source']!r}; the sources are {', '.join(sources)}"
            )
        return section

    @field_validator("depth", mode="wrap")
    @classmethod
    def _depth_is_a_range(cls, depth: Any, checked: ValidatorFunctionWrapHandler) -> Depth:
        try:
            known: Depth = checked(depth)
        except ValidationError:
            known = (0, 0)
        if isinstance(known, tuple) and known[0] >= known[1]:
            raise ValueError(
                f"ingest.depth is {depth!r}; it is type, photo, or two numbers, [lowest, highest]"
            )
        return known

    @field_validator("labels", "none", "ignore")
    @classmethod
    def _each_label_once(cls, labels: Any, field: ValidationInfo) -> Any:
        if not isinstance(labels, list):
            return labels
        names = [naming.clean(name) for name in labels]
        for name, count in Counter(names).items():
            if reason := naming.fault(name):
                raise ValueError(f"ingest.{field.field_name}: {reason}")
            if count > 1:
                raise ValueError(f"ingest.{field.field_name} names {name!r} twice")
        return names

    @field_validator("rename")
    @classmethod
    def _new_names_are_some(cls, rename: dict[str, str] | None) -> dict[str, str] | None:
        names = {naming.clean(old): naming.clean(new) for old, new in (rename or {}).items()}
        for reason in filter(None, map(naming.fault, names.values())):
            raise ValueError(f"ingest.rename: {reason}")
        return names or None

    @model_validator(mode="after")
    def _label_rules_agree(self) -> Self:
        ignored = self.ignore if isinstance(self.ignore, list) else []
        if self.ignore == "others" and not self.labels:
            raise ValueError("ingest.ignore is others: that is, than ingest.labels, which is null")
        labels, none = self.labels or [], self.none or []
        for key, names in (("none", none), ("ignore", ignored)):
            for name in names:
                if name in labels:
                    raise ValueError(f"ingest.labels and ingest.{key} both name {name!r}")
        for name in self.rename or {}:
            if name in [*labels, *ignored, *none]:
                raise ValueError(
                    f"ingest.rename gives {name!r} another name; use that in ingest.labels, none "
                    "and ignore"
                )
        return self

    @property
    def form(self) -> Form:
        """What photos are brought to."""
        return Form(self.image_size, self.depth, self.fit)

    @property
    def source_options(self) -> dict[str, Any]:
        """The content of the section of the chosen source; empty where there is none."""
        return (self.model_extra or {}).get(self.source) or {}


def source_names() -> list[str]:
    """The sources ``ingest`` can read: the modules of ``stages/ingest/sources``."""
    folder = Path(__file__).with_name("sources")
    return sorted(
        file.stem.replace("_", "-") for file in folder.glob("*.py") if file.stem != "__init__"
    )
