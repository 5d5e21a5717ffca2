"""README says what was recorded: its table is the record's, its commands and lessons exist."""

import importlib.util
import re

import pytest

from toolslm_helpers.files import read_json, repository_root

ROOT = repository_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorder():
    return _script(ROOT / "docs" / "record.py")


def test_results_are_the_recorded_ones(recorder):
    record = read_json(ROOT / "docs" / "results" / "tiny.json")
    assert recorder.readme_block(record) in README
    assert recorder.replace_block(README, recorder.readme_block(record)) == README
    assert len(record["commit"]) == 12 and record["size"] == "tiny"


@pytest.mark.parametrize("name", ["seeds", "sweep"])
def test_tables_of_the_page_of_numbers_are_the_recorded_ones(name):
    page = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    benchmark = _script(ROOT / "benchmarks" / f"{name}.py")
    record = ROOT / "docs" / "results" / f"{name}.json"
    shown = page.split(benchmark.BEGIN)[1].split(benchmark.END)[0]
    if record.is_file():
        assert benchmark.table(read_json(record)) in page
        assert "Not recorded for this version yet" not in page.split(benchmark.BEGIN)[0].rsplit("###", 1)[1]
    else:
        assert not shown.strip(), f"a table without a record: docs/results/{name}.json is not there"


@pytest.mark.parametrize("size", ["tiny", "full"])
def test_the_page_of_numbers_tells_the_recorded_speed(size):
    record, page = read_json(ROOT / "docs" / "results" / f"sft_speed_{size}.json"), (ROOT / "docs" / "numbers.md").read_text()
    told = page.split(f"([sft_speed_{size}.json]")[0].rsplit(" times ", 1)[0]
    assert told.endswith(f" {record['times_faster']:.1f}")
    assert record["times_the_memory"] >= 1 and record["stock"]["loss"] == pytest.approx(record["ours"]["loss"], rel=1e-5)
    assert record["layers"] is None, "the whole shape, not a part of it"


def test_make_targets_named_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), f"README links to {target}, which is not there"


def test_every_direct_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    for requirement in named:
        name = re.split(r"[><=\[ ]", requirement)[0]
        assert re.search(rf"^\|.*`{re.escape(name)}`.*\|", README, re.MULTILINE | re.IGNORECASE), (
            f"{name} is not in README's table"
        )


def test_counts_are_the_world_s_and_the_model_s():
    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.model.checkpoints import new_model

    world = build_world()
    parameters = sum(p.numel() for p in new_model(0).parameters())
    for text in (f"{parameters:,} parameters", f"{len(world.tools):,} tools", f"{len(world.apis):,} APIs"):
        assert text in README, text
    assert f"{parameters:,} parameters" in (ROOT / "data_samples" / "models" / "README.md").read_text()
