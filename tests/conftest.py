"""Property tests draw the same examples in every run: what is green on one machine is green on every other. And a web server for tests."""

import pytest
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, database=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def served():
    """``with served(application) as address``: the application on a free port of this machine."""
    pytest.importorskip("uvicorn", reason="needs the extra [serve]")
    from toolslm_helpers.agent.server import in_background

    return in_background
