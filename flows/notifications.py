"""Notifications of how retrainings end: automations of Prefect's, which its server carries out.

So people hear of a run that was killed, too, and of one that nobody started.
"""

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL

from experiments.plan import PlanError

ENDS = ("Promoted", "Refused", "Failed", "Crashed")  # of a run that was Skipped there is no news
# A run that waits for another is late, too; one that waits for so long, nobody serves.
LATE = timedelta(hours=1)
STATE = "event.resource['prefect.state-{}']"


def register(project: str, flow: str, name: str | None) -> None:
    """Makes the server notify people of how runs of the flow's deployment end, and of late ones.

    What was changed in the pages stays as it is, and a line says so; what was switched off there
    stays off.

    Args:
        project: the deployment's name.
        name: the block that notifies people, like slack-webhook/team. None: nobody is notified.

    Raises:
        PlanError: there is no such block, or it cannot notify.
    """
    with get_client(sync_client=True) as client:
        document = block(client, name) if name else None
        for wanted in automations(project, flow, document):
            existing = next(iter(client.read_automations_by_name(wanted.name)), None)
            if existing and existing.description != digest(existing):
                print(
                    f"The automation {existing.name} was changed in Prefect's pages and stays as "
                    f"it is there; retrain.notify in params.yaml says {name or 'null'}"
                )
                continue
            if existing and (document is None or existing.description != wanted.description):
                client.delete_automation(existing.id)
                wanted.enabled, existing = existing.enabled, None
            if document and not existing:
                client.create_automation(wanted)


def block(client: SyncPrefectClient, name: str) -> BlockDocument:
    """The block ``name``, like slack-webhook/team; PlanError where none of it can notify."""
    kind, _, block_name = name.partition("/")
    try:
        document = client.read_block_document_by_name(block_name, kind, include_secrets=False)
    except ObjectNotFound:
        raise PlanError(
            f"retrain.notify is {name}, but Prefect has no such block; set it to null, make the "
            "block in Prefect's pages (Blocks), and set it again"
        ) from None
    schema = document.block_schema
    if schema is None or "notify" not in schema.capabilities:
        raise PlanError(f"retrain.notify is {name}, which is no block that notifies")
    return document


def automations(project: str, flow: str, to: BlockDocument | None) -> list[AutomationCore]:
    """One for runs that have ended, one for those that are late."""
    states = {f"prefect.flow-run.{name}" for name in ENDS}
    late = {
        "posture": Posture.Proactive,
        "after": {"prefect.flow-run.Late"},
        "expect": {"prefect.flow-run.*"},  # whatever comes next: it started, or was cancelled
        "within": LATE,
    }
    link = f"{PREFECT_UI_URL.value()}/runs/flow-run/{{{{ flow_run.id }}}}"
    subject = f"{flow}/{project}: {{{{ {STATE.format('name')} }}}}"
    body = f"{{{{ {STATE.format('message')} }}}}\n{link}"
    waits = f"It should have begun {LATE} ago. Is make ui running?\n{link}"
    return [
        _automation(project, flow, "ended", {"expect": states}, to, subject, body),
        _automation(project, flow, "late", late, to, f"{flow}/{project}: Late", waits),
    ]


def _automation(
    project: str,
    flow: str,
    when: str,
    trigger: dict[str, Any],
    to: BlockDocument | None,
    subject: str,
    body: str,
) -> AutomationCore:
    related = [
        {"prefect.resource.role": role, "prefect.resource.name": name}
        for role, name in (("flow", flow), ("deployment", project))
    ]
    automation = AutomationCore(
        name=f"{flow}/{project}: {when}",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=related,
            for_each={"prefect.resource.id"},
            **trigger,
        ),
        actions=[
            SendNotification(
                block_document_id=to.id if to else UUID(int=0), subject=subject, body=body
            )
        ],
    )
    automation.description = digest(automation)
    return automation


def digest(automation: AutomationCore) -> str:
    """What the description of an automation of ours says, as long as nobody changes it."""
    parts = automation.model_dump(mode="json", include={"trigger", "actions"})
    digits = hashlib.sha256(str(_ordered(parts)).encode()).hexdigest()[:12]
    return f"Of retrain.notify in params.yaml ({digits})"


def _ordered(value: Any) -> Any:
    """The same with all that is a set, or may be one, in a fixed order."""
    if isinstance(value, dict):
        return sorted((key, _ordered(each)) for key, each in value.items())
    return sorted(map(_ordered, value), key=str) if isinstance(value, list) else value
