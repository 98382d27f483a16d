"""Takes the README's pictures of pages: ``python -m docs.screenshots``.

The report and the model that is served are those of this checkout. What Prefect's pages show, some
minutes, happens in a temporary clone of the commit that is checked out, with this project's DVC
cache: a small model is promoted, then that of params.yaml is judged beside it. Needs Chromium.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

import polars as pl
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State

from experiments.dvc_project import check_out, identity, open_project, share_cache
from flows.server import healthy
from stages.ingest import records
from stages.ingest.images import IMAGES, ImageStore

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent
EXECUTABLE = "chromium"
# Nothing but the page that is asked for.
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SIZE = {"width": 1280, "height": 820}
TALL = {"width": 1280, "height": 1060}
SHOWN = (480, 480)  # the sample's photos are small
COLOURS = 256  # few enough for a small file
REPORT = ROOT / "report" / "index.html"
WAIT = 300.0  # seconds for a run, and for the server to start


@contextmanager
def browser() -> Iterator[Page]:
    """A page of the Chromium that is installed; no other is downloaded."""
    with sync_playwright() as playwright:
        program = shutil.which(EXECUTABLE)
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = chromium.new_page(viewport=SIZE)
        page.set_default_timeout(30_000)  # a first start compiles a good deal
        yield page
        chromium.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(project: Path, home: Path) -> Iterator[SyncPrefectClient]:
    """The server and the deployments of ``project``, as ``make ui`` has them; a client of them."""
    port = free_port()
    environment = os.environ | {
        "PREFECT_API_URL": "",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "flows.serve"]
    with subprocess.Popen(command, cwd=project, env=environment) as process:
        try:
            until(lambda: healthy(api))
            with SyncPrefectClient(api) as client:
                until(lambda: len(client.read_deployments()) == 3)
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


@contextmanager
def answering() -> Iterator[str]:
    """The service with this checkout's model; where it is."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        with suppress(URLError), urlopen(f"{address}/health") as answer:
            return answer.status == 200
        return False

    command = [sys.executable, "-m", "tagloom", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            until(ready)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        if time.monotonic() > deadline:
            sys.exit("screenshots: a run or the server takes too long")
        time.sleep(0.3)


def run(client: SyncPrefectClient, flow: str, **parameters: object) -> UUID:
    """A run of the flow's deployment, which has ended."""
    deployment = deployments(client)[flow]
    started = client.create_flow_run_from_deployment(deployment, parameters=parameters)

    def state() -> State:
        return client.read_flow_run(started.id).state

    until(lambda: state().is_final())
    if not state().is_completed():
        sys.exit(f"screenshots: {flow}: {state().message}")
    return started.id


def deployments(client: SyncPrefectClient) -> dict[str, UUID]:
    """The project's deployments, by the name of their flow."""
    return {client.read_flow(each.flow_id).name: each.id for each in client.read_deployments()}


def address(client: SyncPrefectClient) -> str:
    """Where the pages are."""
    return str(client.api_url).rstrip("/").removesuffix("/api")


def main() -> None:
    if shutil.which(EXECUTABLE) is None:
        sys.exit(f"screenshots: there is no program {EXECUTABLE} here; install it and start again")
    if not REPORT.exists():
        sys.exit(f"screenshots: there is no {REPORT}; make repro writes it")
    take_report()
    take_service()
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        project, home = Path(name, "tagloom"), Path(name, "prefect")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
        share_cache(ROOT, project)
        check_out(open_project(project))
        with serving(project, home) as client:
            epochs = "  epochs: 10 "
            change(project, epochs, "  epochs: 3 ")
            run(client, "retrain")
            change(project, "  epochs: 3 ", epochs)
            run(client, "retrain")
            take(client, run(client, "reproduce", overrides=["threshold.scope=label"]))


def change(project: Path, before: str, after: str) -> None:
    """Commits another ``params.yaml``."""
    file = project / "params.yaml"
    text = file.read_text("utf-8")
    if text.count(before) != 1:
        sys.exit(f"screenshots: params.yaml has not {before.strip()!r} once")
    file.write_text(text.replace(before, after), "utf-8")
    command = ["git", "commit", "--quiet", "--all", "--message", after.strip()]
    subprocess.run(command, cwd=project, env=identity(project) | os.environ, check=True)


def take_report() -> None:
    """The pictures of the report: how it begins, and photos with their heat maps."""
    with browser() as page:
        page.set_viewport_size(TALL)
        page.goto(REPORT.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        save(page, "report")
        page.locator("#all-heat").click()
        page.locator("#photos").evaluate("section => section.scrollIntoView({behavior: 'instant'})")
        save(page, "report-photos")


def take_service() -> None:
    """The picture of the service: two test photos, one with a caption and a heat map."""
    known = records.read(ROOT / records.RECORDS)
    test = known.filter(pl.col("subset") == "test").head(2)
    store = ImageStore(ROOT / IMAGES)
    with tempfile.TemporaryDirectory() as temporary, answering() as address, browser() as page:
        files = [Path(temporary, name) for name in test["id"]]
        for file, pixels in zip(files, store.gather(test["image"].to_numpy()), strict=True):
            Image.fromarray(pixels).resize(SHOWN).save(file, "PNG")
        page.goto(address)
        page.locator("#choose").set_input_files(files)
        first = page.locator(".card").first
        first.get_by_label("Caption").fill(test["caption"][0])
        first.locator(".holds").first.get_by_role("button").click()
        first.locator(".heat").wait_for()
        page.wait_for_load_state("networkidle")
        save(page, "service")


def save(page: Page, name: str) -> None:
    picture = Image.open(BytesIO(page.screenshot(animations="disabled")))
    picture.quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)


def take(client: SyncPrefectClient, reproduced: UUID) -> None:
    """The pictures: of the deployments, of the last verdict and of the run ``reproduced``."""
    pages = address(client)
    ids = deployments(client)
    verdicts = [each for each in client.read_artifacts() if each.key == "retrain"]
    verdict = max(verdicts, key=lambda each: each.created).id
    with browser() as page:

        def shot(name: str, path: str, *texts: str, click: str | None = None) -> None:
            page.goto(pages + path)
            if click:
                page.get_by_text(click, exact=True).click()
            for text in texts:
                page.get_by_text(text).first.wait_for()
            page.wait_for_load_state("networkidle")
            save(page, name)

        one = "/deployments/deployment/"
        shot("form", f"{one}{ids['reproduce']}/run", "Stages to bring")
        shot("deployment", f"{one}{ids['retrain']}", "Scheduled for", click="Upcoming")
        page.set_viewport_size(TALL)
        shot("verdict", f"/artifacts/artifact/{verdict}", "To see more")
        shot("run", f"/runs/flow-run/{reproduced}", "Cached", click="Task Runs")


if __name__ == "__main__":
    main()
