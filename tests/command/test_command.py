"""The command as it is called."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from stages.bundle.bundle import read_bundle, seal
from stages.bundle.model import load_model
from stages.ingest.decoder import decode
from tagloom.__main__ import app
from tests.command.conftest import photo
from tests.conftest import ROOT
from tests.hostile import FILES

Run = Callable[..., Result]


@pytest.fixture
def run(bundle: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls the command in a folder with photos; what it needs of the bundle is in the way."""
    monkeypatch.setenv("TAGLOOM_BUNDLE", str(bundle))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def rows(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout, newline="")))


def test_help_has_examples_and_names_each_subcommand(run: Run):
    overview = run("--help").stdout
    for name in ("predict", "explain", "info", "export", "compare", "serve", "look"):
        assert name in overview
        assert f"tagloom {name} " in run(name, "--help").stdout.partition("Examples")[2]
    assert run().exit_code == 2
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)


def test_help_and_onnx_load_neither_torch_nor_much_else(bundle: Path, album: Path):
    for arguments, unwanted in (
        (["--help"], ("torch", "numpy", "polars", "PIL")),
        (["predict", "--help"], ("torch", "numpy", "polars", "PIL")),
        (["predict", "photos", "--onnx", "--bundle", str(bundle)], ("torch",)),
    ):
        program = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tagloom.__main__ import app\n"
            f"for name in {unwanted}: sys.modules[name] = None\n"
            f"app({arguments!r}, prog_name='tagloom')"
        )
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 6


def test_a_folder_and_a_csv_get_what_the_model_says(run: Run, bundle: Path, album: Path):
    model = load_model(bundle)
    names = [f"photos/{path.name}" for path in sorted((album / "photos").iterdir())]
    photos = np.stack([np.asarray(Image.open(name)) for name in names])
    captions = pl.read_csv("photos.csv")["caption"].to_list()
    for source, given in (("photos", None), ("photos.csv", captions)):
        expected = model.probabilities(photos, given)
        assert run("predict", source, "-o", "a.parquet").exit_code == 0
        table = pl.read_parquet("a.parquet")
        assert table["photo"].to_list() == names
        assert (table["probabilities"].to_numpy() == expected).all()
        held = model.decide(expected)
        labels = [[model.bundle.labels[n] for n in np.flatnonzero(row)] for row in held]
        assert table["labels"].to_list() == labels


@pytest.mark.parametrize("changed", [{"depth": "photo"}, {"fit": "crop"}, {"fit": "pad"}])
def test_photos_are_brought_to_the_form_that_the_model_has_learnt(
    run: Run, bundle: Path, in_tmp: Path, changed: dict[str, Any]
):
    other = shutil.copytree(bundle, in_tmp / "bundle")
    manifest = json.loads((other / "bundle.json").read_text("utf-8"))
    manifest["description"] |= changed
    (other / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    Image.fromarray(np.random.default_rng(0).integers(0, 4096, (32, 48), np.uint16)).save("x.png")
    content, model = Path("x.png").read_bytes(), load_model(bundle)
    for folder, form in ((bundle, {}), (other, changed)):
        assert run("predict", "x.png", "-o", "x.parquet", "--bundle", folder).exit_code == 0
        expected = model.probabilities(decode(content, 32, **form).pixels[None], None)
        assert (pl.read_parquet("x.parquet")["probabilities"].to_numpy() == expected).all()
    compared = run("compare", other, "x.png", "--bundle", bundle)
    assert compared.exit_code == 0, compared.stderr
    assert "Largest differences" in compared.stdout


def test_batches_and_onnx_change_no_answer(run: Run, album: Path):
    answers = [
        rows(run("predict", "photos.csv", "--format", "csv", *more))
        for more in ([], ["--batch-size", 4], ["--onnx"])
    ]
    for first, *others in zip(*answers, strict=True):
        for other in others:
            assert other["labels"] == first["labels"]
            for name in [name for name in first if name.startswith("probability")]:
                assert float(other[name]) == pytest.approx(float(first[name]), abs=1e-3)


def test_captions_may_lie_beside_and_change_answers(run: Run, album: Path):
    without = rows(run("predict", "photos", "--format", "csv"))
    table = pl.read_csv("photos.csv")
    table.write_csv("captions.csv")
    beside = run("predict", "photos", "--captions", "captions.csv", "--format", "csv")
    assert rows(beside) == rows(run("predict", "photos.csv", "--format", "csv")) != without
    table.with_columns(photo=pl.format("other/{}", "photo")).write_csv("captions.csv")
    other = run("predict", "photos", "--captions", "captions.csv", "--format", "csv")
    assert rows(other) == without
    assert "tagloom: no photo is in captions.csv" in other.stderr


def test_thresholds_and_top_may_be_chosen(run: Run, album: Path):
    [*all_labels] = json.loads(run("predict", "photos", "--format", "json").stdout)[0][
        "probabilities"
    ]
    answers = json.loads(
        run("predict", "photos", "--format", "json", "--threshold", "0,1=1", "--top", 3).stdout
    )
    for answer in answers:
        assert answer["labels"] == [label for label in all_labels if label != "1"]
        probabilities = list(answer["probabilities"].values())
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)


def test_the_form_follows_the_name_of_the_file(run: Run, album: Path):
    for name, begin in (("a.csv", b"photo,labels,"), ("a.JSON", b"[\n{"), ("a", b"photos/test-")):
        result = run("predict", "photos", "-o", f"new/{name}")
        assert (result.exit_code, result.stdout) == (0, "")
        assert (album / "new" / name).read_bytes().startswith(begin)
    assert len(list((album / "new").iterdir())) == 3


def test_a_link_stays_one_when_its_file_is_written(run: Run, album: Path):
    Path("link.csv").symlink_to("real.csv")
    Path("real.csv").touch()
    assert run("predict", "photos", "-o", "link.csv").exit_code == 0
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith("photo,labels,")


def test_nothing_that_can_be_read_is_an_error_and_an_empty_answer(run: Run, album: Path):
    Path("none").mkdir()
    Path("none/empty.jpg").touch()
    result = run("predict", "none", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "tagloom: 1 of 1 " in result.stderr


def test_what_cannot_be_read_is_listed_and_counts_only_if_strict(run: Run, album: Path):
    Path("photos/empty.jpg").touch()
    Path("photos/broken.png").write_bytes(Path("photos/test-00000.png").read_bytes()[:200])
    for strict, code in ((["--strict"], 1), ([], 0)):
        result = run("predict", "photos", "--format", "csv", *strict)
        assert result.exit_code == code
        assert len(result.stdout.splitlines()) == 7
        *_, head, broken, empty = result.stderr.splitlines()
        assert head.startswith("tagloom: 2 of 8 ")
        assert broken.startswith("  photos/broken.png: ")
        assert empty.startswith("  photos/empty.jpg: ")


def test_stdout_holds_results_alone(run: Run, album: Path):
    assert json.loads(run("predict", "photos", "--format", "json").stdout)
    assert "predict: 6 of 6 photos" in run("predict", "photos").stderr


@pytest.mark.parametrize(
    "arguments, code, named",
    [
        (["predict", "nowhere"], 2, "'nowhere'"),
        (["predict", "empty"], 1, "tagloom: there is no photo in empty;"),
        (["predict", "photos", "--bundle", "nowhere"], 1, "no nowhere;"),
        (["predict", "photos", "--bundle", "empty"], 1, "tagloom: empty is no bundle"),
        (["predict", "photos", "--threshold", "11=0.5"], 2, "'11'"),
        (["predict", "photos", "--format", "parquet"], 2, "--output"),
        (["predict", "photos", "-o", "a.parquet", "--top", "3"], 2, "--top"),
        (["predict", "photos", "--format", "xml"], 2, "'xml'"),
        (["predict", "photos", "--output", "/dev/null"], 2, "/dev/null"),
        (["explain", "photos/test-00000.png", "-o", "/dev/null"], 2, "/dev/null"),
        (["export", "--onnx", "/dev/null"], 2, "/dev/null"),
        (["predict", "photos", "--output", "empty"], 2, "is a directory"),
        (["predict", "photos", "--output", "photos.csv/a"], 1, "tagloom: photos.csv"),
        (["predict", "photos", "--batch-size", "0"], 2, "--batch-size"),
        (["predict", "photos", "--tip", "3"], 2, "No such option: --tip"),
        (["predict", "none.csv"], 1, "tagloom: none.csv has no column"),
        (["explain", "none.csv"], 1, "tagloom: none.csv: "),
        (["explain", "photos/test-00000.png", "--label", "12"], 2, "'12'; did you mean"),
        (["explain", "photos/test-00000.png", "--onnx"], 2, "--onnx"),
        (["export"], 2, "--onnx or --torch-export"),
        (["predict", "-", "-"], 2, "twice"),
        (["predict", "broken.jpg"], 1, "broken.jpg: not an image"),
        (["serve", "--allow-host", "https://photos.lan"], 2, "https://photos.lan"),
        (["serve", "--allow-host", "photos.lan:80"], 2, "photos.lan:80"),
        (["info", "--bundle", "nowhere"], 1, "tagloom: there is no nowhere;"),
        (["predct"], 2, "Did you mean 'predict'?"),
    ],
)
def test_errors_are_sentences(arguments: list[str], code: int, named: str, run: Run, album: Path):
    Path("empty").mkdir()
    Path("none.csv").write_text("a,b\n1,2\n")
    Path("broken.jpg").write_text("no photo")
    result = run(*arguments)
    assert result.exit_code == code
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    if named.startswith("tagloom: "):
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""


@pytest.mark.parametrize("between", ["\n", "\0"])
def test_paths_come_from_the_input(bundle: Path, album: Path, between: str):
    Path("photos/a\nb.png").write_bytes(Path("photos/test-00000.png").read_bytes())
    paths = ["photos/test-00000.png", "photos.csv", *(["photos/a\nb.png"] * (between == "\0"))]
    arguments = ["predict", "-", "photos", "--format", "csv", "--bundle", str(bundle), "--onnx"]
    result = CliRunner().invoke(app, arguments, input=between.join([*paths, ""]))
    names = [row["photo"] for row in rows(result)]
    assert names[:7] == [paths[0], *(f"photos/test-0000{n}.png" for n in range(6))]
    assert len(names) == 1 + 6 + (between == "\0") + 7
    missing = CliRunner().invoke(app, arguments, input="photos/none.png\n")
    assert (missing.exit_code, "photos/none.png" in missing.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_it(shell: str):
    environment = os.environ | {"_TAGLOOM_COMPLETE": f"complete_{shell}", "PYTHONPATH": str(ROOT)}
    words = {"COMP_WORDS": "tagloom pre", "COMP_CWORD": "1"}
    words |= {"_TYPER_COMPLETE_ARGS": "tagloom pre", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = subprocess.run(
        [sys.executable, "-m", "tagloom"],
        env=environment | words,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "predict" in result.stdout
    assert "export" not in result.stdout


def test_a_reader_that_has_seen_enough_ends_it_quietly(bundle: Path, album: Path):
    command = f"{sys.executable} -m tagloom predict photos --onnx --batch-size 1 --format json"
    env = os.environ | {"TAGLOOM_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        f"{command} | head -n 1", shell=True, env=env, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[\n"
    assert "Error" not in result.stderr
    assert "Traceback" not in result.stderr


def test_hostile_files_are_read_or_listed_and_nothing_else_is_printed(bundle: Path, in_tmp: Path):
    Path("photos").mkdir()
    names = {}
    for number, file in enumerate(FILES):
        names[file.kind] = f"photos/{number:03}-{Path(file.name).stem}.jpg"
        Path(names[file.kind]).write_bytes(file.content)
    assert len(names) >= 40
    env = os.environ | {"TAGLOOM_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tagloom", *"predict photos --onnx --format json".split()]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    read = {each["photo"] for each in json.loads(result.stdout)}
    head, *listed = result.stderr.splitlines()[1:]
    assert head.startswith(f"tagloom: {len(listed)} of {len(names)} ")
    refused = dict(line.strip().split(": ", 1) for line in listed)
    assert read | set(refused) == set(names.values())
    assert not read & set(refused)
    assert all(refused.values())
    for file in FILES:
        assert file.readable is None or (names[file.kind] in read) == file.readable, file.kind


def test_a_photo_is_explained_in_words_and_a_picture(run: Run, album: Path):
    caption = pl.read_csv("photos.csv")["caption"][0]
    result = run("explain", "photos/test-00000.png", "--caption", caption, "--label", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    first, words, last = result.stdout.splitlines()
    assert re.fullmatch(r"1: [01]\.\d\d, (holds|does not hold) \(from 0\.\d\d\)", first)
    effects = re.findall(r"(\w+) ([+-]\d+\.\d\d)", words)
    assert effects
    assert {word for word, _ in effects} <= set(caption.lower().split())
    assert last.startswith("test-00000-explained.png ")
    ignored = ("git", "check-ignore", "--quiet", "test-00000-explained.png")
    assert subprocess.run(ignored, cwd=ROOT, check=False).returncode == 0
    with Image.open("test-00000-explained.png") as picture:
        assert picture.width > 500
        colours = np.asarray(picture.convert("HSV"))[:, picture.width // 2 :, 1]
        assert (colours > 128).mean() > 0.01  # something is warm


def test_an_explanation_may_be_a_page_in_one_file(run: Run, album: Path):
    caption = "<b>one & two</b>"
    result = run("explain", "photos/test-00001.png", "--caption", caption, "-o", "why.html")
    assert result.exit_code == 0, result.stderr
    page = Path("why.html").read_text()
    labels = [line.partition(":")[0] for line in result.stdout.splitlines() if ": " in line[:4]]
    assert labels
    assert page.count("data:image/webp") == 1 + len(labels)
    assert "http" not in page
    assert "<figcaption>&lt;b&gt;one &amp; two&lt;/b&gt;</figcaption>" in page


def test_info_says_what_the_bundle_is(run: Run, bundle: Path):
    text = " ".join(run("info").stdout.split())  # lines break where the folder's name is long
    known = read_bundle(bundle)
    assert "captions, with 10 labels" in text
    assert "small_cnn, 32 × 32 pixels" in text
    assert known.sha256 in text
    micro_f1 = known.metrics.validation.overall["micro_f1"]
    assert micro_f1.low is None  # of so few photos
    assert f"micro_f1 {micro_f1.value:.3f} – " in text
    for label, threshold in zip(known.labels, known.thresholds, strict=True):
        f1 = known.metrics.validation.labels[label].f1
        assert re.search(rf" {label} {threshold:.3f} {f1:.3f} ", text)
    assert "--onnx" in text


def test_of_a_label_without_a_photo_info_has_no_figure(run: Run, bundle: Path, in_tmp: Path):
    shutil.copytree(bundle, "bare")
    content = json.loads(Path("bare/bundle.json").read_text("utf-8"))
    figures = content["metrics"]["validation"]["labels"]["3"]
    content["metrics"]["validation"]["labels"]["3"] = dict.fromkeys(figures) | {"count": 0}
    seal(Path("bare"), {key: content[key] for key in content.keys() - {"format", "files"}})
    text = " ".join(run("info", "--bundle", "bare").stdout.split())
    assert re.search(r" 3 0\.\d{3} – – – – – 0 ", text)


def test_a_changed_byte_is_noticed(run: Run, bundle: Path, in_tmp: Path):
    shutil.copytree(bundle, "changed")
    with Path("changed/network.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    for command in (["info", "--bundle", "changed"], ["predict", "photos", "--bundle", "changed"]):
        result = run(*command)
        assert result.exit_code == 1
        assert result.stderr.startswith("tagloom: changed/network.safetensors ")


def test_the_model_is_exported_for_other_programs(run: Run, bundle: Path, album: Path):
    result = run("export", "--onnx", "new/model.onnx")
    assert result.exit_code == 0, result.stderr
    assert "MB: photos, uint8 (n, 32, 32, 3), RGB; words, int64 (n, words)" in result.stdout
    model = load_model(bundle)
    photos = np.stack([np.asarray(Image.open(path)) for path in Path("photos").iterdir()])
    session = onnxruntime.InferenceSession("new/model.onnx", providers=["CPUExecutionProvider"])
    given = {"photos": photos, "words": np.zeros((len(photos), 1), np.int64)}
    [probabilities] = session.run(["probabilities"], given)
    assert probabilities == pytest.approx(model.probabilities(photos, None), abs=1e-4)


def test_a_graph_that_points_elsewhere_is_not_exported(run: Run, bundle: Path, in_tmp: Path):
    other = shutil.copytree(bundle, in_tmp / "other")
    shutil.copyfile(bundle / "network.safetensors", "network_safetensors")
    graph = (other / "network.onnx").read_bytes()
    graph = graph.replace(b"network.safetensors", b"network_safetensors")
    (other / "network.onnx").write_bytes(graph)
    manifest = json.loads((other / "bundle.json").read_text("utf-8"))
    manifest["files"]["network.onnx"] = hashlib.sha256(graph).hexdigest()
    (other / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    for arguments in (
        ("export", "--onnx", "x.onnx"),
        ("predict", "--onnx", "."),
        ("serve", "--onnx"),
    ):
        result = run(*arguments, "--bundle", other)
        assert result.exit_code == 1
        assert "network.onnx cannot be loaded" in " ".join(result.stderr.split())
    assert not Path("x.onnx").exists()


def test_a_model_agrees_with_itself(run: Run, bundle: Path, album: Path):
    result = run("compare", bundle, "photos.csv")
    assert result.exit_code == 0, result.stderr
    assert "Of 6 photos, 100.0% get the same of the 10 labels" in result.stdout
    assert "B − A +0.0000" in result.stdout
    assert "which says nothing: 6 photos" in result.stdout
    assert "Largest differences" not in result.stdout
    assert "Micro-F1 on 6 photos" in result.stdout
    # Of one photo nobody knows any label.
    nothing = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(" ".join(map(str, range(10)))))
    table = pl.read_csv("photos.csv", infer_schema=False).with_columns(unknown=nothing)
    table.write_csv("partly.csv")
    assert "Micro-F1 on 5 photos" in run("compare", bundle, "partly.csv").stdout


def test_labels_of_others_do_not_steer_the_terminal(run: Run, bundle: Path, in_tmp: Path):
    hostile = "\x1b]0;gone\x07\x9b2J\n[bold]"
    other = shutil.copytree(bundle, in_tmp / "\x1b[2Jbundle")
    text = (other / "bundle.json").read_text("utf-8")
    manifest = json.loads(text.replace('"0"', json.dumps(hostile)))
    (other / "bundle.json").write_text(json.dumps(manifest), "utf-8")
    photo(in_tmp / "\x1b[31m.png")
    for arguments in (
        ("info",), ("predict", "."), ("predict", ".", "--threshold", "owl=0.3"),
        ("predict", ".", "--threshold", f"{hostile}=2"), ("explain", "\x1b[31m.png"),
        ("explain", "\x1b[31m.png", "--label", "owl"), ("predict", "\x1b[2Jnowhere"),
        ("compare", bundle, "."), ("export", "--onnx", "\x1b[31m.onnx"),
    ):  # fmt: skip
        answer = run(*arguments, "--bundle", other)
        assert not set(answer.output) & set("\x1b\x07\x9b"), arguments
        assert isinstance(answer.exception, SystemExit | None), arguments
