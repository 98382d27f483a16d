"""Prefect's pages as people see them: in a real Chromium, of a real server."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from docs.screenshots import EXECUTABLE, address, browser, deployments, run, serving
from tests import forked_python
from tests.toy import ROOT

pytestmark = pytest.mark.skipif(
    shutil.which(EXECUTABLE) is None, reason=f"there is no program {EXECUTABLE}"
)


@dataclass(frozen=True)
class Seen:
    """A page of the browser, the pages' address, deployments by flow, and a run that has ended."""

    page: Page
    at: str
    deployments: dict[str, UUID]
    run: UUID


@pytest.fixture(scope="module")
def seen(
    reproduced: Path, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seen]:
    """Of a project with a clock, where one stage had to run."""
    folder = tmp_path_factory.mktemp("seen")
    project = folder / "toy"
    shutil.copytree(reproduced, project, symlinks=True)
    (project / "flows").symlink_to(ROOT / "flows")
    cron = "retrain:\n  cron: 0 4 * * 1\n  timezone: Europe/Berlin\n"
    (project / "params.yaml").write_text(f"a: in.txt\n{cron}b: 2\n")
    home = shutil.copytree(prefect_home, folder / "prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", forked_python.executable())
        with serving(project, home) as client, browser() as page:
            yield Seen(page, address(client), deployments(client), run(client, "reproduce"))


def test_a_deployment_has_its_schedule(seen: Seen) -> None:
    seen.page.goto(f"{seen.at}/deployments/deployment/{seen.deployments['retrain']}?tab=Upcoming")
    expect(seen.page.get_by_text("params-yaml").first).to_be_visible()  # the schedule's name
    expect(seen.page.get_by_text("0 4 * * 1 (Europe/Berlin)").first).to_be_visible()
    expect(seen.page.get_by_text("Scheduled for").first).to_be_visible()


def test_a_run_shows_what_was_cached_and_what_ran(seen: Seen) -> None:
    seen.page.goto(f"{seen.at}/runs/flow-run/{seen.run}")
    expect(seen.page.locator("canvas").first).to_be_visible()  # the graph
    seen.page.get_by_text("Task Runs", exact=True).click()
    expect(seen.page.get_by_text("Cached", exact=True)).to_have_count(2)
    expect(seen.page.get_by_text("last", exact=True)).to_be_visible()
    # The stage that had to run, and the run itself.
    expect(seen.page.get_by_text("Completed", exact=True)).to_have_count(2)


def test_the_figures_are_an_artifact(seen: Seen) -> None:
    seen.page.goto(f"{seen.at}/runs/flow-run/{seen.run}")
    seen.page.get_by_text("Artifacts", exact=True).click()
    seen.page.get_by_text("metrics", exact=True).click()
    expect(seen.page.get_by_text("label.cat", exact=True)).to_be_visible()
    expect(seen.page.get_by_text("0.25", exact=True)).to_be_visible()


def test_the_form_says_what_may_be_asked_for(seen: Seen) -> None:
    seen.page.goto(f"{seen.at}/deployments/deployment/{seen.deployments['reproduce']}/run")
    expect(seen.page.get_by_text("Stages to bring up to date")).to_be_visible()
    seen.page.get_by_role("button", name="No items selected").press("ArrowDown")
    for stage in ("first", "side", "last"):
        expect(seen.page.get_by_text(stage, exact=True)).to_be_visible()
    seen.page.goto(f"{seen.at}/deployments/deployment/{seen.deployments['retrain']}/run")
    expect(seen.page.get_by_text("Retrain even where nothing changed.")).to_be_visible()
