"""The set-up cell of a lesson where a hosted notebook runs it: no workbook, the host's own torch, numpy and ipywidgets, google.colab."""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from toolslm_helpers.files import repository_root

# What Colab brings (late 2025), as far as this lesson meets it: older than ours, and to be left alone but for pydantic, which is needed newer.
HOST = {"numpy": "2.0.2", "ipywidgets": "7.7.1", "ipython": "7.34.0", "pydantic": "2.12.3"}
UNTOUCHED = ("torch", "numpy", "ipywidgets", "ipython")

# What the notebook's kernel does: (notebook, "GPU" or "CPU") on the command line.
KERNEL = """
import json, sys, types
from types import SimpleNamespace

google, colab = types.ModuleType("google"), types.ModuleType("google.colab")
google.colab = colab
sys.modules |= {"google": google, "google.colab": colab}
import torch

if sys.argv[2] == "GPU":
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_name = lambda device=None: "Tesla T4"
    torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(total_memory=15 * 2**30)
try:
    import toolslm_helpers
except ModuleNotFoundError:
    pass
else:
    sys.exit("the workbook is installed here, so the cell has nothing to do")
cells = [cell for cell in json.load(open(sys.argv[1]))["cells"] if cell["cell_type"] == "code"]
space = {}
for cell in cells[:2]:
    exec("".join(cell["source"]), space)
assert torch is sys.modules["torch"]
from toolslm_helpers.teaching import views, widgets  # they must load under the host's ipywidgets

print("lesson:", space["lesson"].name, space["lesson"].size.name, space["lesson"].device)
"""


def run(*command, folder, **environment):
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env=clean_environment() | environment, timeout=1500
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def clean_environment():
    """Without what would let a process see this environment's packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}


def link_torch(packages: Path) -> list[str]:
    """Links this environment's torch into ``packages`` and returns the names of the packages that it needs."""
    torch = distribution("torch")
    for name in {file.parts[0] for file in torch.files} - {"..", "bin"}:
        (packages / name).symlink_to(torch.locate_file(name))
    needed = [Requirement(text) for text in torch.requires or ()]
    return [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(address, git's settings) of a repository that holds the last commit under the tag which the cell asks for."""
    root, bare = repository_root(), tmp_path_factory.mktemp("published") / "workbook.git"
    if subprocess.run(["git", "rev-parse", "--git-dir"], cwd=root, capture_output=True).returncode:
        pytest.skip("not a git clone: there is nothing to fetch")
    cell = "".join(json.loads(LESSON.read_text())["cells"][4]["source"])
    address = cell.split('address = "')[1].split('"')[0]
    tag = cell.split('"--branch", "')[1].split('"')[0]
    run("git", "clone", "-q", "--bare", root, bare, folder=root)
    run("git", "tag", "-f", tag, "HEAD", folder=bare)
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{bare}.insteadOf", "GIT_CONFIG_VALUE_0": address}


LESSON = repository_root() / "notebooks" / "06_softmax_and_decoding.ipynb"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_set_up_cell_in_a_hosted_notebook(published, tmp_path):
    """A fresh environment with a host's packages runs the cell; then once more, as a restarted kernel does, with a GPU.

    Not all that Colab has is there: what lessons import from it beyond this (matplotlib, scikit-learn and hundreds more) takes gigabytes, and
    torch is this environment's own, linked, so its version is ours and not Colab's. What the cell is held to is the same: whatever is
    there of torch, numpy and ipywidgets stays, and what is missing comes from the package registry.
    """
    run(sys.executable, "-m", "venv", tmp_path / "host", folder=tmp_path)
    python = tmp_path / "host" / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip())
    needed = link_torch(packages)
    run(python, "-m", "pip", "install", "-q", *needed, *(f"{name}=={number}" for name, number in HOST.items()), folder=tmp_path)

    def versions():
        text = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
        return json.loads(run(python, "-c", text, folder=tmp_path))

    before = versions()
    assert before["torch"] == version("torch") and "trl" not in before and {n: before[n] for n in HOST} == HOST
    (tmp_path / "content").mkdir()
    kernel = tmp_path / "kernel.py"
    kernel.write_text(KERNEL)
    offline = {"HF_HUB_OFFLINE": "1"}  # the registry is all the network there is
    said = run(python, kernel, LESSON, "CPU", folder=tmp_path / "content", **published, **offline)
    after = versions()
    assert {name: after[name] for name in UNTOUCHED} == {name: before[name] for name in UNTOUCHED}
    assert (
        after["trl"] == version("trl")
        and after["transformers"] == version("transformers")
        and after["pydantic"] != HOST["pydantic"]
    )
    assert (tmp_path / "content" / "workbook" / "notebooks" / LESSON.name).is_file()
    assert "lesson: 06 tiny CPU" in said and "A GPU is here" not in said
    said = run(python, kernel, LESSON, "GPU", folder=tmp_path / "content", **published, **offline)
    assert "lesson: 06 tiny Tesla T4 (15 GiB)" in said and 'A GPU is here. SIZE = "full"' in said
    assert versions() == after, "a second time nothing is installed"
