"""Property tests draw the same examples in every run: what is green on one machine is green on every other. And a web server for tests."""

import contextlib
import socket
import threading
import time

import pytest
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, database=None)
settings.load_profile("reproducible")


@contextlib.contextmanager
def _served(app):
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra [serve]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def served():
    """``with served(application) as address``: the application on a port of this machine, in a thread of its own."""
    return _served
