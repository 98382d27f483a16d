"""Every test here has an environment of its own: DVC's files, Git's settings, a home."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _environment(own_environment: None) -> None:
    pass
