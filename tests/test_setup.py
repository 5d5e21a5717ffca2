"""One pinned list feeds pip and conda, names every dependency once, and is what this environment really holds."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from functools import cache

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from toolslm_helpers import __version__, doctor
from toolslm_helpers.files import repository_root

ROOT = repository_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CORE = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
LEFT_OUT = {"baselines", "sagemaker"}  # extras that the list does not hold: pyproject.toml says why beside each
PINNED_EXTRAS = [lines for extra, lines in EXTRAS.items() if extra not in LEFT_OUT]
DIRECT = CORE + [Requirement(line) for line in sum(PINNED_EXTRAS, PROJECT["build-system"]["requires"])]
PIN_LINES = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]


@cache
def pins() -> dict[str, Requirement]:
    """The pins that hold for this Python and system, by canonical name."""
    return {canonicalize_name(name): pin for name, pin in doctor.read_pins(ROOT / "requirements.txt").items()}


def names(requirements) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def needed_by(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed distribution requires here."""
    requirements = [Requirement(line) for line in importlib.metadata.requires(name) or []]
    wanted = extras or {""}
    return [r for r in requirements if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in wanted)]


def test_every_line_is_one_exact_pin():
    for line in PIN_LINES:
        pin = Requirement(line)
        assert [s.operator for s in pin.specifier] == ["=="] and pin.url is None, line
        assert Version(next(iter(pin.specifier)).version).local is None, f"{line}: a local version fits one build only"
    listed = [canonicalize_name(Requirement(line).name) for line in PIN_LINES]
    assert len(listed) == len(set(listed))


def test_every_direct_dependency_is_pinned_within_its_bound():
    for requirement in DIRECT:
        pin = pins().get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} has no pin"
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), f"{pin} is outside {requirement}"


def test_an_extra_that_is_left_out_is_really_left_out_and_nothing_imports_it():
    assert set(EXTRAS) >= LEFT_OUT
    left_out = names(Requirement(line) for extra in LEFT_OUT for line in EXTRAS[extra])
    assert left_out and left_out.isdisjoint(pins()) and left_out.isdisjoint(names(DIRECT))
    modules = {name.replace("-", "_") for name in left_out}
    for path in [*(ROOT / "toolslm_helpers").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        imported = re.findall(r"^\s*(?:import|from)\s+(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert modules.isdisjoint(imported), f"{path} needs an optional package: find it with importlib.util.find_spec"


@pytest.mark.skipif(sys.platform != "linux", reason="the list was closed on Linux; other systems add their own few packages")
def test_the_list_is_closed_and_holds_nothing_else():
    found, todo = set(), [(canonicalize_name(r.name), frozenset(r.extras)) for r in DIRECT]
    while todo:
        name, extras = todo.pop()
        if (name, extras) not in found and not name.startswith(("nvidia-", "cuda-", "triton")):  # torch's GPU build pins its own
            found.add((name, extras))
            todo += [(canonicalize_name(r.name), frozenset(r.extras)) for r in needed_by(name, extras)]
    assert {name for name, _ in found} == set(pins())


def test_this_environment_is_what_the_list_says():
    wrong = []
    for distribution in importlib.metadata.distributions():
        pin = pins().get(canonicalize_name(distribution.metadata["Name"]))
        if pin and not pin.specifier.contains(distribution.version):
            wrong.append(f"{pin}, installed is {distribution.version}")
    assert not wrong, f"{wrong}. Run: make test (it installs the list), or pip install -r requirements.txt"


def test_conda_reads_the_same_list_and_nothing_else():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, from_pip = environment["dependencies"]
    assert from_pip == {"pip": ["-r requirements.txt", "-e ."]} and pip == "pip"
    name, version = python.split("=")
    assert name == "python" and SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)


def test_what_the_code_imports_is_declared():
    places = {"core": ROOT / "toolslm_helpers", "test": ROOT / "tests"}
    # The extras [judge] and [serve] are imported where they are used, with an error that names the extra.
    core = names(CORE) | names(Requirement(line) for extra in ("judge", "serve") for line in EXTRAS[extra])
    declared = {"core": core, "test": core | names(Requirement(line) for line in EXTRAS["test"])}
    providers = importlib.metadata.packages_distributions()
    for group, folder in places.items():
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules = [node.module]
                else:
                    continue
                for module in {module.split(".")[0] for module in modules} - sys.stdlib_module_names:
                    from_ = names(Requirement(name) for name in providers.get(module, []) if name != "toolslm-helpers")
                    assert not from_ or from_ & declared[group], f"{path}: {module} comes from {from_}, not declared in {group}"


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["project"]["version"] == __version__ == citation["version"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Repository"]
