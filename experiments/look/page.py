"""What people read, and see, of a look."""

import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from experiments.look.looked import SHOWN, Look
from stages import UserError, figures
from stages.files import whole

WIDTH = 100  # characters of a line
AT = 44  # where a word on a value begins
COLUMNS = 6  # of a contact sheet


def lines(look: Look) -> Iterator[str]:
    """What was found, what is in doubt, what else it may be, and the lines of ``params.yaml``."""
    yield f"{look.folder}: {look.shape}"
    yield from map(_item, _found(look))
    if look.doubts:
        yield "\nin doubt:"
        yield from map(_item, look.doubts)
    if look.others:
        yield "\nit may also be:"
        yield from (_item(f"{shape}: {_flow(ingest)}") for shape, ingest in look.others)
    yield "\nlines of params.yaml:"
    yield "ingest:"
    root = {"source": look.ingest["source"], "root": str(look.folder)}
    yield from _values(root | look.ingest, look.reasons, "ingest", "  ")


def _found(look: Look) -> Iterator[str]:
    given = f", {look.validation:,} of them given to validate" if look.validation else ""
    yield f"{look.photos:,} photos to learn from{given}; {look.test_photos:,} to test"
    if look.captions:
        yield f"{look.captions:,} with captions"
    if look.groups:
        yield f"{look.groups:,} groups of photos that stay together"
    if look.times:
        yield f"{look.times:,} with a time"
    if look.sides:
        width, height = look.sides
        yield f"{width} × {height} pixels, in the middle of {len(look.sample)} that were opened"
    names = sorted(look.labels, key=lambda name: -look.labels[name])
    few = names if len(names) <= 2 * SHOWN else [*names[:SHOWN], "…", *names[-SHOWN:]]
    counted = (f"{name} ({look.labels[name]:,})" if name in look.labels else name for name in few)
    yield f"{len(names):,} labels: {', '.join(counted)}"


def _item(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


def _values(
    section: dict[str, Any], reasons: dict[str, str], at: str, indent: str
) -> Iterator[str]:
    for key, value in section.items():
        whole_key = f"{at}.{key}"
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _values(value, reasons, whole_key, f"{indent}  ")
            continue
        line = f"{indent}{key}: {_flow(value)}"
        why = textwrap.wrap(reasons.get(whole_key, ""), WIDTH - AT)
        if not why:
            yield line
            continue
        yield f"{line:{AT - 1}} # {why[0]}"
        yield from (f"{'':{AT - 1}} # {more}" for more in why[1:])


def _flow(value: Any) -> str:
    """``value`` in one line of YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width = True, 10**6
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip()


def write_sheet(look: Look, path: Path) -> None:
    """Writes a PNG of the sample, with the labels that would be read.

    Raises:
        UserError: no photo could be opened.
    """
    if not look.sample:
        raise UserError(f"{path} would be empty: no photo of {look.folder} could be opened")
    names = [f"{each.width} × {each.height}" for each in look.sample]
    labels = [
        "not known" if each.labels is None else ", ".join(each.labels) or "none"
        for each in look.sample
    ]
    title = f"{figures.short(look.folder.name, 40)}: the labels that are read"
    sheet = figures.contact_sheet(
        title, [each.pixels for each in look.sample], names, labels, COLUMNS
    )
    with whole(path) as temporary:
        figures.save_photos(sheet, temporary)
