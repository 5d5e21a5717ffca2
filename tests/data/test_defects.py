"""The table of upstream's defects: what it names is there, and what it says is repeated under compat can be."""

import inspect
from importlib import import_module

from toolslm_helpers.data.defects import DEFECTS


def test_what_repeats_a_defect_has_the_switch() -> None:
    for defect in DEFECTS:
        if defect.compat:
            module, name = defect.compat.rsplit(".", 1)
            function = getattr(import_module(f"toolslm_helpers.{module}"), name)
            assert inspect.signature(function).parameters["compat"].default is False, defect.name


def test_every_defect_says_all_of_it_and_once() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    for defect in DEFECTS:
        for sentence in (defect.upstream, defect.reason, defect.ours):
            assert sentence.endswith(".") and len(sentence) < 160, defect.name
        assert defect.where.endswith(".py")
