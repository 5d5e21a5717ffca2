"""Records of lessons become results.json; pass rates become one table."""

import io
import json

import pytest
from rich.console import Console

from toolslm_helpers.files import DataError
from toolslm_helpers.results import duration, gather, pass_rate_table


def write(folder, lesson, **changes):
    record = {
        "lesson": lesson,
        "size": "tiny",
        "seed": 0,
        "seconds": 2.0,
        "device": "CPU",
        "versions": {"torch": "2"},
        "values": {},
    }
    (folder / f"{lesson}.json").write_text(json.dumps(record | changes))


def rate(passed, n=200):
    return {"passed": passed, "n": n, "low": 0.25, "high": 0.75}


def test_only_this_size_and_seed_are_gathered_and_the_later_lesson_has_the_last_word(tmp_path):
    write(
        tmp_path,
        "08",
        pass_rate={"sft": {"all": rate(1)}, "base": {"all": rate(0)}},
        values={"loss": {"value": 1, "unit": "nats"}},
    )
    write(tmp_path, "11", pass_rate={"sft": {"all": rate(2)}}, device="GPU")
    write(tmp_path, "12", size="smoke")
    write(tmp_path, "13", seed=1)
    assert gather(tmp_path, "tiny", 0) == {
        "size": "tiny",
        "seed": 0,
        "device": "GPU",
        "versions": {"torch": "2"},
        "lessons": {
            "08": {"seconds": 2.0, "values": {"loss": {"value": 1, "unit": "nats"}}},
            "11": {"seconds": 2.0, "values": {}},
        },
        "pass_rate": {"sft": {"all": rate(2)}, "base": {"all": rate(0)}},
    }


def test_nothing_recorded_gives_empty_results(tmp_path):
    assert gather(tmp_path, "tiny", 0)["lessons"] == {}


@pytest.mark.parametrize("text", ["[]", '{"lesson": "08", "size": "tiny"}', "{"])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "08.json").write_text(text)
    with pytest.raises(DataError, match="08.json.*(no field '(lesson|seed)'|broken JSON)"):
        gather(tmp_path, "tiny", 0)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_keeps_every_number_at_any_width(width):
    rates = {"base": {"G1_instruction": rate(0)}, "sft": {"G1_instruction": rate(100), "all": rate(850, 1100)}}
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(pass_rate_table(rates))
    words = console.export_text().split()
    assert {"G1_instruction", "all", "50.0%", "(100/200)", "77.3%", "(850/1100)", "75.0]", "judged"} <= set(words)


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "?"), (0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
