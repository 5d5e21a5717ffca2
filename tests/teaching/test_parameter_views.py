"""Tables of parameters: what they say is what counting counts, and a change is named."""

from dataclasses import replace

from toolslm_helpers.model.counting import DEEPSEEK_OCR, OPT_350M, active_parameters, total_parameters
from toolslm_helpers.teaching.parameter_views import one_thing_changed, part_table, size_rows, sizes


def test_a_row_compares_a_model_with_the_start():
    start, larger = size_rows({"start": OPT_350M, "larger": DEEPSEEK_OCR}, OPT_350M)
    assert (start.total, start.active, start.total_times, start.active_times) == (331_196_416, 329_097_216, 1.0, 1.0)
    assert larger.total_times == total_parameters(DEEPSEEK_OCR) / 331_196_416
    assert larger.active_times == active_parameters(DEEPSEEK_OCR) / 329_097_216
    assert (start.context_mib, larger.context_mib) == (192.0, 480.0)


def test_the_parts_of_a_table_sum_to_its_last_line():
    lines = [line.split("  ") for line in part_table(OPT_350M, OPT_350M).text.splitlines()[1:]]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    numbers = [int(line[2].replace(",", "")) for line in cells[:-1]]
    assert cells[-1][:3] == ["together", "331,196,416", "329,097,216"] and sum(numbers) == 331_196_416
    assert all(line[-1] == "the same" for line in cells)


def test_what_has_grown_is_marked_in_words_and_shade():
    view = part_table(replace(OPT_350M, context=4096), OPT_350M)
    assert "+2,097,152 (x2.00)" in view.text
    assert view.html.count("background:#fdf3d0") == 1, "one line has changed, and only that one is shaded"
    mixed = part_table(replace(OPT_350M, experts=2), OPT_350M).text
    assert "+402,898,944 (new)" in mixed and "gone" in mixed


def test_changes_are_named_by_what_changed():
    models = one_thing_changed(OPT_350M, [{"layers": 25}, {"layers": 25, "context": 10}])
    assert list(models) == ["OPT-350M", "layers 24 -> 25", "layers 24 -> 25, context 2,048 -> 10"]
    assert (models["layers 24 -> 25"].layers, models["OPT-350M"]) == (25, OPT_350M)
    assert "x1.04" in sizes(models, OPT_350M).text
