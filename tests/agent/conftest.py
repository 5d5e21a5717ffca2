"""The folder with ToolBench's files, for the tests of agent/ that compare with them."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toolbench_dir() -> Path:
    folder = os.environ.get("TOOLBENCH_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs ToolBench's files: set TOOLBENCH_DIR to a folder with golden/, raw_trees/ and stabletoolbench/")
    return Path(folder)
