"""How ToolEval asks: at most three questions a vote, and never one whose answer is known. One flow for every judge.

``vote_on`` is that flow as a generator: it yields the next question, is sent the judge's word, and returns the vote. Whoever drives it
decides who answers: a script in a lesson (``ScriptedJudge``), or a language model over HTTP (``llm_judge``).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.votes import Ballot, Label, Task, Vote

Question = Literal["answer", "path", "task"]  # solved, by the answer? by the whole path? could it be solved at all?
LABELS: dict[Question, tuple[str, ...]] = {"answer": get_args(Label), "path": get_args(Label), "task": get_args(Task)}


def vote_on(answer: Answer) -> Generator[Question, str, Vote]:
    """One vote, in ToolEval's order. (ToolBench, toolbench/tooleval/evaluators/registered_cls/tooleval.py and eval_pass_rate.py)

    Without Finish at the end it fails unread. A give-up or an empty answer is unsolved unread. Else the judge sees query and answer; if
    that leaves it unsure, the whole path. Unless the query is solved, it is asked whether the tools could have solved it.
    """
    if not answer.finished:
        return Vote("unsolved", "solvable", "No Finish at the end: failed without a judge.")
    reason = "The judge's word."
    if answer.return_type != "give_answer" or not answer.text.strip():
        label, reason = "unsolved", "It gave up or said nothing: unsolved without a judge."
    else:
        label = yield "answer"
        if label == "unsure":
            label = yield "path"
    if label == "solved":
        return Vote("solved", None, reason)
    task = yield "task"
    return Vote(label, task, reason)


def drive(answer: Answer, ask: Callable[[Question], str]) -> Vote:
    """Runs ``vote_on`` to its end. Raises ValueError for a word that is no answer to its question."""
    flow = vote_on(answer)
    try:
        question = next(flow)
        while True:
            question = flow.send(checked(question, ask(question)))
    except StopIteration as end:
        return end.value


def checked(question: Question, word: str) -> str:
    """``word`` in lower case. Raises ValueError where it is none of the question's labels."""
    if not isinstance(word, str) or word.strip().lower() not in LABELS[question]:
        raise ValueError(f"{word!r} as the answer to {question!r}; expected one of {', '.join(LABELS[question])}.")
    return word.strip().lower()


@dataclass(frozen=True)
class ScriptedJudge:
    """Answers from a script: ``script(question, answer, vote)`` -> a label. For lessons and tests: no model, and it can be read."""

    script: Callable[[Question, Answer, int], str]

    def ballots(
        self, answers: Sequence[Answer], votes: int = 4, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[Ballot, ...]:
        """A ballot of ``votes`` votes on each answer, in their order."""
        result = []
        for answer in answers:
            cast = (drive(answer, lambda question, a=answer, k=k: self.script(question, a, k)) for k in range(votes))
            result.append(Ballot(*answer.key, tuple(cast)))
            if on_progress is not None:
                on_progress(len(result), len(answers))
        return tuple(result)
