"""How people hear of the end of retrainings, by a real server's automations."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.states import Completed, Crashed, Failed, Late, Scheduled

from experiments.plan import PlanError
from flows.notifications import register
from flows.retrain import retrain
from tests.toy import eventually

PROJECT = "birds-3f2a91"
TEAM, OTHERS = "custom-webhook/team", "custom-webhook/others"


@pytest.fixture
def mailbox(server: None) -> Iterator[list[str]]:
    """What was sent to the blocks ``TEAM`` and ``OTHERS``, whose address holds the word token."""
    received: list[str] = []

    class Post(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(
                json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Post) as post:
        threading.Thread(target=post.serve_forever, daemon=True).start()
        for name in (TEAM, OTHERS):
            CustomWebhookNotificationBlock(
                name=name,
                url=f"http://127.0.0.1:{post.server_port}/token",
                json_data={"text": "{{subject}}: {{body}}"},
            ).save(name.partition("/")[2], overwrite=True)
        yield received
        post.shutdown()


@pytest.fixture(autouse=True)
def _removed(client: SyncPrefectClient) -> Iterator[None]:
    yield
    for each in ours(client):
        client.delete_automation(each.id)


def ours(client: SyncPrefectClient) -> list[Automation]:
    names = [f"retrain/{PROJECT}: {when}" for when in ("ended", "late")]
    return [each for name in names for each in client.read_automations_by_name(name)]


def run(client: SyncPrefectClient, deployment: str, *states: State) -> str:
    """The id of a run of retrain's deployment of that name, which went through the states."""
    deployed = retrain.to_deployment(deployment).apply()
    flow_run = client.create_flow_run_from_deployment(deployed, state=Scheduled())
    for state in states:
        client.set_flow_run_state(flow_run.id, state, force=True)
    return str(flow_run.id)


def test_people_are_told_how_it_ended(
    client: SyncPrefectClient, mailbox: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.notifications.LATE", timedelta(seconds=10))
    register(PROJECT, "retrain", TEAM)
    late = run(client, PROJECT, Late())
    run(client, PROJECT, Late(), Completed(name="Skipped", message="Nothing is new"))
    run(client, "of another project", Failed(message="not ours"))
    promoted = run(client, PROJECT, Completed(name="Promoted", message="it is better"))
    run(client, PROJECT, Crashed(message="It was killed"))
    eventually(lambda: len(mailbox) == 3)
    assert mailbox[0].startswith(f"retrain/{PROJECT}: Promoted: it is better\nhttp")
    assert mailbox[0].endswith(f"/runs/flow-run/{promoted}")
    assert mailbox[1].startswith(f"retrain/{PROJECT}: Crashed: It was killed\n")
    assert re.match(f"retrain/{PROJECT}: Late: It should have begun 0:00:10 ago", mailbox[2])
    assert mailbox[2].endswith(f"/runs/flow-run/{late}")
    assert "token" not in "".join(each.model_dump_json() for each in ours(client))


def test_what_the_pages_changed_stays(
    client: SyncPrefectClient, mailbox: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    register(PROJECT, "retrain", TEAM)
    ended, late = ours(client)
    client.pause_automation(late.id)
    register(PROJECT, "retrain", TEAM)
    assert ours(client) == [ended, late.model_copy(update={"enabled": False})]
    register(PROJECT, "retrain", OTHERS)  # what the file says now
    before, (ended, late) = late, ours(client)
    assert (ended.enabled, late.enabled) == (True, False)
    assert late.actions != before.actions
    assert not capsys.readouterr().out

    action = ended.actions[0].model_copy(update={"subject": "Hear, hear"})
    parts = ended.model_dump(exclude={"id", "owner_resource"}) | {"actions": [action]}
    client.update_automation(ended.id, AutomationCore(**parts))
    register(PROJECT, "retrain", None)
    [kept] = ours(client)
    assert (kept.id, kept.actions[0].subject) == (ended.id, "Hear, hear")
    assert "was changed in Prefect's pages and stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("custom-webhook/nobody", "but Prefect has no such block"),
        ("nobody", "but Prefect has no such block"),
        ("secret/word", "which is no block that notifies"),
    ],
)
def test_a_block_that_cannot_notify_is_found_out_at_once(
    server: None, name: str, reason: str
) -> None:
    Secret(value="x").save("word", overwrite=True)
    with pytest.raises(PlanError, match=f"retrain.notify is {name}, {reason}"):
        register(PROJECT, "retrain", name)
