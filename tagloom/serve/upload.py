"""Multipart forms, read as they stream in and held to limits with every chunk.

A form is kept in memory, never on a disk. The length in its headers is not believed.
"""

import asyncio
import dataclasses
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from tagloom.serve.limits import MB, Gate, Limits, Refused

LONGEST_NAME = 255  # characters of a file's name that are repeated in an answer
# What turns the direction of writing, so that exe.gpj reads as jpg.exe.
DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LONGEST_FIELD = 1000  # bytes of what is neither photo nor caption


@dataclasses.dataclass
class Part:
    """One part of a form: its field, its file's name (empty: none was given) and its bytes."""

    field: str
    filename: str
    content: bytearray = dataclasses.field(default_factory=bytearray)


@dataclasses.dataclass
class Form:
    """What a form held: photos and captions in its order, and every other field by name."""

    photos: list[Part] = dataclasses.field(default_factory=list)
    captions: list[str] = dataclasses.field(default_factory=list)
    others: dict[str, str] = dataclasses.field(default_factory=dict)


@asynccontextmanager
async def received(request: Request, gate: Gate, others: tuple[str, ...]) -> AsyncIterator[Form]:
    """Reads the form of a request; its bytes count as held until the block ends.

    Args:
        others: names of the fields that it may have besides ``photos`` and ``captions``.

    Raises:
        Refused: it is too large, too slow, broken, or no such form.
    """
    _check_headers(request, gate.limits)
    reader = _Reader(_boundary(request), gate.limits, others)
    held = 0
    try:
        async for chunk in _in_time(request, gate.limits.seconds):
            gate.hold(len(chunk))
            held += len(chunk)
            if held > gate.limits.request_bytes:
                raise _too_large(gate.limits)
            reader.write(chunk)
        yield reader.form()
    finally:
        gate.let_go(held)


async def _in_time(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """The body in chunks; refuses where it does not come, or not in time."""
    stream, deadline = request.stream(), asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            sentence = f"the request did not arrive within {seconds:g} s"
            raise Refused(408, "slow", sentence) from error
        except ClientDisconnect as error:
            raise Refused(400, "truncated", "the request broke off") from error
        if chunk is None:
            return
        yield chunk


def _check_headers(request: Request, limits: Limits) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "encoding", "send the form as it is, without Content-Encoding")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.request_bytes:
        raise _too_large(limits)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Refused(415, "type", "send photos as a form: Content-Type: multipart/form-data")
    if not options.get(b"boundary"):
        raise Refused(400, "form", "the Content-Type of the form names no boundary")
    return options[b"boundary"]


def _too_large(limits: Limits) -> Refused:
    most = f"{limits.request_bytes / MB:g} MB"
    return Refused(413, "request size", f"a request may have {most}; send fewer photos at a time")


class _Reader:
    """Makes parts of chunks, and checks what can be checked before a part is whole."""

    def __init__(self, boundary: bytes, limits: Limits, others: tuple[str, ...]) -> None:
        self.limits, self.others = limits, others
        self.parts: list[Part] = []
        self.is_whole = False
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._most = {"photos": limits.photo_bytes, "captions": 4 * limits.caption}  # bytes
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_to_header,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._add_content,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise Refused(400, "form", f"the form cannot be read: {error}") from error

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Refused(400, "form", f"the form cannot be read: {error}") from error

    def form(self) -> Form:
        if not self.is_whole:
            raise Refused(400, "truncated", "the form ends before its last boundary")
        form = Form()
        for part in self.parts:
            if part.field == "photos":
                form.photos.append(part)
            elif part.field == "captions":
                form.captions.append(self._caption(part))
            elif part.field in form.others:
                raise Refused(422, "fields", f"the field {part.field} is there twice")
            else:
                form.others[part.field] = _text(part)
        return form

    def _caption(self, part: Part) -> str:
        caption = _text(part)
        if len(caption) > self.limits.caption:
            raise self._long_caption()
        return caption

    def _long_caption(self) -> Refused:
        return Refused(413, "caption", f"a caption may have {self.limits.caption:,} characters")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        known = ("photos", "captions", *self.others)
        if name not in known:
            raise Refused(
                422, "fields", f"no field is called {_clean(name)!r}; there are {', '.join(known)}"
            )
        filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self.parts.append(Part(name, _clean(filename)))
        if sum(part.field == name for part in self.parts) > self.limits.photos:
            raise Refused(
                413,
                "count",
                f"a request may have {self.limits.photos} {name}; send fewer at a time",
            )

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if len(part.content) + end - start > self._most.get(part.field, LONGEST_FIELD):
            raise self._too_long(part)
        part.content += data[start:end]

    def _too_long(self, part: Part) -> Refused:
        if part.field == "captions":
            return self._long_caption()
        if part.field == "photos":
            most = f"{self.limits.photo_bytes / MB:g} MB"
            return Refused(413, "photo size", f"{part.filename or 'a photo'}: more than {most}")
        return Refused(413, "fields", f"the field {part.field} is too long")

    def _end(self) -> None:
        self.is_whole = True


def _text(part: Part) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(422, "fields", f"the field {part.field} is not text in UTF-8") from error


def _clean(name: str) -> str:
    """A name that can be shown: not too long, without what would steer a terminal or a page."""
    return "".join("\ufffd" if _steers(letter) else letter for letter in name[:LONGEST_NAME])


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in DIRECTIONS
