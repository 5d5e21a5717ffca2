"""The direction of imports that pyproject.toml writes down ([tool.importlinter])."""

import os
import subprocess
import sys
from pathlib import Path

from toolslm_helpers.files import repository_root


def test_modules_import_only_what_stands_below_them():
    root = repository_root()
    linter = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([linter, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_command_line_starts_without_torch():
    """Importing torch or transformers takes seconds; `toolslm --help` must not wait for them."""
    code = (
        "import sys, toolslm_helpers.cli; print(sorted({'torch', 'transformers', 'papermill', 'nbconvert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository_root(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
