"""What the service's own OpenAPI schema allows, and what it does not, is answered as it says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.hostile import FILES
from tests.serve.conftest import Running

# Hypothesis takes what the service's threads draw from random meanwhile for a strategy's doing.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning"
)

SMALL = 20_000  # bytes

OPERATIONS = [
    ("POST", "/predict"),
    ("POST", "/explain"),
    ("GET", "/labels"),
    ("GET", "/health"),
    ("GET", "/live"),
    ("GET", "/metrics"),
]
seeded = settings(
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema(service: Running):
    readable = [file.content for file in FILES if file.readable and len(file.content) < SMALL]
    schemathesis.openapi.media_type("image/*", st.sampled_from(readable))
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")


def test_every_operation_is_tried(schema):
    assert {(each.ok().method.upper(), each.ok().path) for each in schema.get_all_operations()} == {
        *OPERATIONS
    }


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_schema_allows(schema, method: str, path: str):
    """Each status, header and body is one that the schema names for the operation."""
    statuses = set()

    @seeded
    @given(case=schema[path][method].as_strategy())
    def check(case):
        answer = case.call()
        # A schema cannot say that there are as many captions as photos, nor what a photo is.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        statuses.add(answer.status_code)

    check()
    assert statuses <= {200, 422}
    assert 200 in statuses or path == "/explain"  # no text that is made up is a label


@pytest.mark.parametrize(("method", "path"), OPERATIONS[:2])
def test_what_the_schema_forbids(schema, method: str, path: str):
    """Is refused as the schema says; but in a form null is a word like any other."""
    statuses = set()

    @seeded
    @given(case=schema[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def check(case):
        answer = case.call()
        case.validate_response(answer, excluded_checks=[negative_data_rejection])
        statuses.add(answer.status_code)

    check()
    assert statuses <= {200, 400, 413, 415, 422}
    assert 422 in statuses
