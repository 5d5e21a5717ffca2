"""Answers of a single chain (CoT): what ToolBench wrote down where no tree was searched, such as ``1073_CoT@1.json``."""

from typing import Annotated

from pydantic import BeforeValidator

from toolslm_helpers.data.records import Record, _as_tuple
from toolslm_helpers.data.trees import AnswerGeneration, TreeNode


class Try(Record):
    """One chain from the query to where it stopped; ``win`` is false even in the published ones that answer."""

    chain: Annotated[tuple[TreeNode, ...], BeforeValidator(_as_tuple)]
    win: bool = False


class AnswerChain(Record):
    """One answer file of CoT@n: up to n tries of one query; ``answer_generation`` is of the last."""

    win: bool
    try_count: int
    trys: Annotated[tuple[Try, ...], BeforeValidator(_as_tuple)]
    answer_generation: AnswerGeneration
