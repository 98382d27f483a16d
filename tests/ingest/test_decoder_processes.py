"""Photos decoded in processes that end, and are followed by others, where a photo is their end."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from stages.ingest import decoder_processes
from stages.ingest.budget import MB
from stages.ingest.decoder import decode
from stages.ingest.decoder_processes import Decoders
from stages.ingest.form import Form
from stages.ingest.images import UnreadablePhoto
from tests.hostile import deflated_zeros, jpeg, photo, png, saved

FORMS = [Form(16), Form(24, "photo", "pad"), Form(16, (0.0, 4095.0), "crop")]


@pytest.fixture
def decoders() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


def run_first(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has processes run a program before they decode."""
    start, run = decoder_processes.PROGRAM.rsplit("run(", 1)
    monkeypatch.setattr(decoder_processes, "PROGRAM", f"{start}{program}\nrun({run}")


BEFORE: set[psutil.Process] = set()  # of other tests


@pytest.fixture(autouse=True)
def only_own_children() -> None:
    BEFORE.clear()
    BEFORE.update(psutil.Process().children())


def children() -> list[psutil.Process]:
    """The processes that the test has started."""
    return [each for each in psutil.Process().children() if each not in BEFORE]


@pytest.mark.parametrize("form", FORMS)
def test_photos_are_those_of_the_decoder(decoders: Decoders, form: Form) -> None:
    deep = Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30))
    for content in (jpeg(), saved(photo(), "WEBP"), saved(deep, "PNG")):
        ours, theirs = decoders.decode(content, form), decode(content, *form)
        assert (ours.pixels == theirs.pixels).all()
        assert ours[1:] == theirs[1:]
    with pytest.raises(UnreadablePhoto, match="not an image"):
        decoders.decode(b"no photo", form)


def test_many_threads_have_few_processes(decoders: Decoders) -> None:
    files = [jpeg(side) for side in range(20, 60)]
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(lambda content: decoders.decode(content, Form(16)), files))
    assert [photo.width for photo in photos] == list(range(20, 60))
    assert 1 <= len(children()) <= 2


def test_pixels_are_limited_as_here(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(UnreadablePhoto, match="more than 2,000"):
        decoders.decode(jpeg(), Form(16))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def endless(*_):\n  while True: pass\ndecoder.decode = endless", "longer than 30 s"),
        ("decoder.decode = lambda *_: os.read(os.pipe()[0], 1)", "hung for 600 s"),
        ("decoder.decode = lambda *_: os.kill(os.getpid(), 11)", "ended by signal 11"),
    ],
    ids=["endless", "hung", "crash"],
)
def test_a_photo_that_ends_its_decoder_costs_no_other(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "from stages.ingest import confinement, decoder, decoder_processes as d; import os\n"
    short += "d.deadline = lambda: confinement.deadline(0.5)\n"
    short += "d.clock_deadline = lambda: confinement.clock_deadline(5)\n"
    with Decoders(1) as decoders:
        with monkeypatch.context() as patched:
            run_first(short + program, patched)
            with pytest.raises(UnreadablePhoto, match=reason):
                decoders.decode(jpeg(), Form(16))
        assert decoders.decode(jpeg(), Form(16)).width == 48
        assert len(children()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a limit that only Linux keeps to")
def test_a_photo_has_no_more_memory_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from stages.ingest import decoder; import psutil\n"
    program += "decoder.shrink = lambda *_: bytearray(psutil.virtual_memory().total // 2)"
    run_first(program, monkeypatch)
    with Decoders(1) as decoders, pytest.raises(UnreadablePhoto, match="more memory than there is"):
        decoders.decode(jpeg(), Form(16))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library keeps it")
def test_memory_of_a_large_photo_goes_back(decoders: Decoders) -> None:
    decoders.decode(jpeg(), Form(16))
    [process] = children()
    before = process.memory_info().rss
    content = png(5000, 5000, deflated_zeros(5000 * 15_001), bits=8, colour=2)  # 100 MB
    assert decoders.decode(content, Form(16)).width == 5000
    assert process.memory_info().rss - before < 48 * MB


def test_whoever_is_stuck_ends_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "from stages.ingest import decoder; import time\n"
    run_first(program + "decoder.decode = lambda *_: time.sleep(60)", monkeypatch)
    decoders, outcome = Decoders(1), []

    def ask() -> None:
        with pytest.raises(UnreadablePhoto) as caught:
            decoders.decode(jpeg(), Form(16))
        outcome.append(str(caught.value))

    asking = threading.Thread(target=ask)
    asking.start()
    while not children():
        time.sleep(0.01)
    decoders.close()
    asking.join(10)
    assert outcome
    assert not children()


def test_what_is_being_started_ends_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    started, popen = threading.Event(), subprocess.Popen

    def slow(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = popen(*arguments, **options)
        started.set()
        time.sleep(0.5)
        return process

    monkeypatch.setattr(decoder_processes.subprocess, "Popen", slow)
    decoders = Decoders(1)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(decoders.decode, jpeg(), Form(16))
        started.wait()
        decoders.close()
        assert not children()
        assert isinstance(asked.exception(), UnreadablePhoto)


def test_none_is_started_once_they_are_closed() -> None:
    with Decoders(1) as decoders:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        decoders.decode(jpeg(), Form(16))
    assert not children()


def test_a_process_that_was_killed_at_nothing_costs_no_photo(decoders: Decoders) -> None:
    decoders.decode(jpeg(), Form(16))
    [process] = children()
    process.kill()
    process.wait()
    assert decoders.decode(jpeg(), Form(16)).width == 48


def test_an_error_of_ours_is_none_of_the_photo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_first("1 / 0", monkeypatch)
    with Decoders(1) as decoders, pytest.raises(RuntimeError):
        decoders.decode(jpeg(), Form(16))
    assert "ZeroDivisionError" in capfd.readouterr().err
