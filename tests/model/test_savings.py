"""The record of what merging saves: numbers only, and consistent in itself."""

import json

import pytest

from toolslm_helpers.data.counts import counts_file
from toolslm_helpers.files import DataError
from toolslm_helpers.model.savings import recorded_savings


def test_the_record_can_be_read_and_adds_up():
    record = recorded_savings()
    assert not record.commit.endswith("-dirty") and {saving.model for saving in record.savings} == {"OPT-350M", "opt-mini"}
    for saving in record.savings:
        assert 0 < saving.examples < saving.rows and 0 < saving.supervised < saving.merged_tokens < saving.tokens
        # Attention's share makes FLOPs shrink less than tokens: merging leaves out the short rows.
        assert 1 < saving.flops / saving.merged_flops < saving.tokens / saving.merged_tokens


def test_a_damaged_or_missing_record_says_what_to_do(tmp_path):
    content = json.loads(counts_file("merge").read_text())
    del content["savings"][0]["rows"]
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"savings\.0\.rows.*benchmarks/merge\.py"):
        recorded_savings(tmp_path / "damaged.json")
    with pytest.raises(DataError, match="no such file"):
        recorded_savings(tmp_path / "none.json")
