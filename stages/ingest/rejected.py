"""``data/rejected.csv``: every input that was set aside, with its file, its row and the reason.

People read it, in terminals and in spreadsheets, and no program of ours does: what would steer a
terminal is escaped, and what a spreadsheet would take for a formula has an apostrophe before it.
"""

from collections import Counter
from pathlib import Path

from stages import UserError, for_people
from stages.files import write_csv
from stages.ingest.params import Ingest

REJECTED = Path("data/rejected.csv")
Rejected = tuple[str, int, str, str]  # file, row, photo, reason


def write(rejected: list[Rejected]) -> None:
    """Writes all that was set aside, in the order of files and rows."""
    rows = (
        [for_people(file), row, for_people(photo), for_people(reason)]
        for file, row, photo, reason in sorted(rejected)
    )
    write_csv(REJECTED, ["file", "row", "photo", "reason"], rows)


def check_loss(listed: int, rejected: list[Rejected], params: Ingest) -> None:
    """Writes what was set aside of the ``listed`` photos.

    Raises:
        UserError: no photo is listed, none is left, or more are lost than the user allows.
    """
    write(rejected)
    if not listed:
        raise UserError(f"the source {params.source} lists no photo in {params.root}")
    if len(rejected) == listed or len(rejected) / listed > params.max_rejected:
        (reason, count), *_ = Counter(reason for *_, reason in rejected).most_common(1)
        photo = next((photo for *_, photo, why in rejected if why == reason and photo), None)
        limit = f"more than ingest.max_rejected = {params.max_rejected:g} allows"
        if len(rejected) == listed:
            limit = "so that none is left"
        raise UserError(
            f"{len(rejected):,} of {listed:,} photos were set aside, {limit}; "
            f"{REJECTED} lists them, {count:,} times"
            f"{f', as for {photo}' if photo else ''}: {reason}"
        )
