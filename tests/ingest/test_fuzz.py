"""A few hundred files of the fuzz run, and whether decoders take no more than they ask for."""

import sys

import pytest

from stages.image_formats import FORMATS
from stages.ingest.budget import MB, give_back
from stages.ingest.decoder import BESIDE
from stages.ingest.form import Form
from stages.ingest.workers import in_processes
from tests.ingest.fuzz import TOTAL, Noted, cost, fuzz, large

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak"),
    pytest.mark.filterwarnings("ignore"),  # Pillow's, of broken notes
]


def test_no_file_is_over_the_budget_or_the_deadline():
    tallies, over = fuzz(range(300))
    assert not over
    assert set(FORMATS) <= tallies.keys()
    for outcome in ("read", "refused"):
        assert sum(tally.outcomes[outcome] for tally in tallies.values()) > 50
    assert sum(tally.outcomes.total() for tally in tallies.values()) == 300


@pytest.mark.parametrize("format", [*BESIDE, "PNG", "SGI", "progressive JPEG"])
def test_a_decoder_takes_no_more_than_it_asks_for(format: str):
    content, budget = large(format), Noted(1, TOTAL)
    give_back()  # or a fork would have it for its photo
    decoded = in_processes(
        lambda content: (None, cost(content, Form(224), budget)), [content], (1,), str
    )
    [(_, measured)] = decoded
    budget.close()
    assert measured.outcome == "read"
    assert measured.peak < measured.needed + 16 * MB
