"""What must not move: a value that moved is named with its lesson, what was expected and what came."""

import pytest

from toolslm_helpers.files import DataError
from toolslm_helpers.regression import expected_file, read_expected, regressions

FILE = """
seed = 0
[tiny.08]
seconds = 300
[tiny.08.values]
supervised_tokens = 100
final_loss = { low = 0.1, high = 0.3 }
[tiny.11.pass_rate.sft]
all = { low = 0.8, high = 1.0 }
"""


@pytest.fixture
def expected(tmp_path):
    path = tmp_path / "expected.toml"
    path.write_text(FILE)
    return read_expected(path)


def results(tokens=100, loss=0.3, passed=90, size="tiny", lessons=("08", "11")):
    values = {"08": {"supervised_tokens": {"value": tokens, "unit": ""}, "final_loss": {"value": loss, "unit": "nats"}}, "11": {}}
    return {
        "size": size,
        "seed": 0,
        "lessons": {number: {"seconds": 1, "values": values[number]} for number in lessons},
        "pass_rate": {"sft": {"all": {"passed": passed, "n": 100, "low": 0.8, "high": 0.9}}},
    }


def test_nothing_moved_and_the_bounds_belong_to_the_range(expected):
    assert regressions(expected, results()) == []
    assert regressions(expected, results(loss=0.1, passed=80)) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tokens": 101}, "lesson 08 metric supervised_tokens: expected 100, got 101"),
        ({"tokens": 100.0}, "lesson 08 metric supervised_tokens: expected 100, got 100.0"),
        ({"loss": 0.31}, "lesson 08 metric final_loss: expected 0.1 to 0.3, got 0.31"),
        ({"loss": float("nan")}, "lesson 08 metric final_loss: expected 0.1 to 0.3, got nan"),
        ({"passed": 79}, "lesson 11 metric pass_rate.sft.all: expected 0.8 to 1, got 0.79"),
    ],
)
def test_what_moved_is_named(expected, change, line):
    assert regressions(expected, results(**change)) == [line]


def test_a_metric_that_is_gone_has_moved(expected):
    gone = results()
    del gone["lessons"]["08"]["values"]["final_loss"], gone["pass_rate"]["sft"]["all"]
    assert regressions(expected, gone) == [
        "lesson 08 metric final_loss: expected 0.1 to 0.3, got nothing: it was not recorded",
        "lesson 11 metric pass_rate.sft.all: expected 0.8 to 1, got nothing: it was not recorded",
    ]


def test_only_lessons_and_sizes_that_ran_are_compared(expected):
    assert regressions(expected, results(tokens=1, passed=0, lessons=())) == []
    assert regressions(expected, results(tokens=1, passed=0, size="smoke")) == []
    assert len(regressions(expected, results(tokens=1, passed=0, lessons=("08",)))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "broken TOML"),
        ("seed = 0\n[tinny.08]", "field tinny"),
        ("seed = 0\n[tiny.08.values]\nloss = { low = 2.0, high = 1.0 }", "low 2 is above high 1"),
        ("seed = 0\n[tiny.08.values]\nloss = { low = 2.0, hihg = 3.0 }", "field tiny.08.values.loss"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    path = tmp_path / "expected.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_expected(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        read_expected(tmp_path / "none.toml")


def test_the_repository_s_own_file_is_well_formed():
    assert read_expected(expected_file()).seed == 0
