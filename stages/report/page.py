"""``report/index.html``: everything in one file, which asks the network for nothing.

A content security policy holds the browser to that: it runs the scripts that this module put in,
by their hashes, shows pictures that are in the page, and loads nothing at all. What comes from
outside (labels, captions, names of files) is text to the templates, which escape it.
"""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from altair import VEGALITE_VERSION
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from vl_convert import javascript_bundle

TEMPLATES = Path(__file__).parent / "templates"
MINUTE, HOUR = 60, 3600  # seconds


def write(path: Path, content: dict[str, Any]) -> int:
    """Writes what ``render`` makes of ``content``; returns its size in bytes."""
    text = render(content).encode("utf-8", "replace")
    path.write_bytes(text)
    return len(text)


def render(content: dict[str, Any]) -> str:
    """The page; ``content`` is what ``templates/page.html`` asks for."""
    scripts = [vega(), (TEMPLATES / "page.js").read_text("utf-8")]
    content = content | {"sections": content["sections"].items()}
    page = templates().get_template("page.html")
    return page.render(
        content,
        style=Markup((TEMPLATES / "style.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
    )


def templates() -> Environment:
    """What reads the page's templates, with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "percent": percent,
        "signed": signed,
        "count": count,
        "duration": duration,
        "setting": setting,
    }
    return environment


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; putting it together takes seconds."""
    version = VEGALITE_VERSION.rpartition(".")[0]
    return javascript_bundle(vl_version=version)  # type: ignore[call-arg]  # snippet is optional


def policy(scripts: list[str]) -> str:
    """The content security policy of a page with these scripts."""
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    # Vega makes functions of a chart's expressions, and styles its charts in place.
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def figure(value: float | None, places: int = 3) -> str:
    """A metric; – where there is none.

    >>> figure(0.12345), figure(None)
    ('0.123', '–')
    """
    return "–" if value is None else f"{value:.{places}f}"


def signed(value: float | None, places: int = 3) -> str:
    """A difference with its sign, a true minus.

    >>> signed(-0.0123), signed(0.5)
    ('−0.012', '+0.500')
    """
    return "–" if value is None else f"{value:+.{places}f}".replace("-", "−")


def percent(value: float | None, places: int = 0) -> str:
    """A share in percent.

    >>> percent(0.4567), percent(0.001, 1)
    ('46 %', '0.1 %')
    """
    return "–" if value is None else f"{value * 100:.{places}f}\N{NO-BREAK SPACE}%"


def count(value: int | None) -> str:
    """A number with commas between thousands; – where there is none."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """A time in the largest unit of which there are two.

    >>> duration(24.6), duration(280), duration(9000)
    ('25 seconds', '4.7 minutes', '2.5 hours')
    """
    if seconds is None:
        return "–"
    for unit, length in (("hours", HOUR), ("minutes", MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds:.0f}\N{NO-BREAK SPACE}seconds"


def setting(value: Any) -> str:
    """A parameter's value as ``params.yaml`` has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
