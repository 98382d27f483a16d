"""The section ``ingest`` of ``params.yaml``: what comes in."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from stages.ingest import naming
from stages.ingest.images import Depth, Form
from stages.params import Fraction, Section, unknown


class Ingest(Section):
    """What comes in. A source's own options stand in a section named after it.

    Those are kept as they are (``source_options``): the source's module checks them.
    """

    model_config = ConfigDict(extra="allow")

    source: str
    root: str
    deliveries: str | None
    corrections: str
    image_size: Annotated[int, Field(ge=8, le=4096)]
    depth: Depth
    labels: Annotated[list[str], Field(min_length=1)] | None
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

    @field_validator("labels")
    @classmethod
    def _each_label_once(cls, labels: list[str] | None) -> list[str] | None:
        if labels is None:
            return None
        names = [naming.clean(name) for name in labels]
        for name, count in Counter(names).items():
            if reason := naming.fault(name):
                raise ValueError(f"ingest.labels: {reason}")
            if count > 1:
                raise ValueError(f"ingest.labels names {name!r} twice")
        return names

    @property
    def form(self) -> Form:
        """What photos are brought to."""
        return Form(self.image_size, self.depth)

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
