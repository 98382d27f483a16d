"""Photos are read ahead, in order, and few of them are in memory at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.cores import cores
from stages.ingest.decoder import decode
from stages.ingest.form import Form
from tagloom.inputs import Asked, Unreadable
from tagloom.prefetch import batches, with_progress
from tests.command.conftest import photo


def test_photos_come_in_order_and_those_that_cannot_be_read_are_listed(in_tmp: Path):
    asked = [Asked(name, photo(in_tmp / name, seed), name) for seed, name in enumerate("abcde")]
    Path("b").write_bytes(b"no photo")
    asked.insert(3, Unreadable("row", "reason"))
    unreadable: list[Unreadable] = []
    first, second = batches(asked, {Form(8), Form(16)}, 4, unreadable)
    assert [each.name for each in first.asked] == ["a", "c"]
    assert [each.name for each in second.asked] == second.captions == ["d", "e"]
    assert (first.taken, second.taken) == (4, 2)
    assert [each.name for each in unreadable] == ["b", "row"]
    for size in (8, 16):
        expected = decode(Path("e").read_bytes(), size).pixels
        assert first.pixels[Form(size)].shape == (2, size, size, 3)
        assert (second.pixels[Form(size)][1] == expected).all()


def test_deep_photos_are_scaled_as_each_model_has_learnt_them(in_tmp: Path):
    Image.fromarray(np.array([[0, 4000]], np.uint16)).save("a.png")
    forms = {Form(8): 16, Form(8, "photo"): 255, Form(8, (0.0, 8000.0)): 128}
    [only] = batches([Asked("a", Path("a.png"))], forms, 4, [])
    assert {form: only.pixels[form].max() for form in forms} == forms


def test_a_batch_of_none_that_can_be_read_is_empty(in_tmp: Path):
    [only] = batches([Unreadable("a", "reason")], {Form(8)}, 4, [])
    assert (only.asked, only.taken) == ([], 1)
    assert only.pixels[Form(8)].shape == (0, 8, 8, 3)


def test_for_a_model_of_captions_no_file_is_opened(in_tmp: Path):
    [only] = batches([Asked("a", Path("nowhere"), "caption")], (), 4, [])
    assert (only.captions, only.pixels) == (["caption"], {})


def test_however_many_photos_few_are_read_ahead(in_tmp: Path):
    path, taken = photo(in_tmp / "a"), 0

    def endless() -> Iterator[Asked]:
        nonlocal taken
        while True:
            taken += 1
            yield Asked("a", path)

    decoded = batches(endless(), {Form(8)}, 10, [])
    for _ in range(20):
        next(decoded)
    decoded.close()
    assert 200 < taken <= 200 + 2 * 10 + 16 * cores() + 1


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_counts_what_was_taken(quiet: bool, in_tmp: Path, capsys):
    asked = [Asked("a", photo(in_tmp / "a")), Unreadable("b", "reason"), Asked("a", Path("a"))]
    shown = with_progress(batches(asked, {Form(8)}, 2, []), "predict", 3, quiet)
    assert np.sum([len(batch.asked) for batch in shown]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("predict: 3 of 3 photos") != quiet
