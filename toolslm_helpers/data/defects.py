"""What is known to be wrong in how ToolBench makes training examples, what is done here instead, and where upstream does it.

The released rows were made with all of them. ``compat=True`` repeats those that have a switch, for comparison with upstream's files; the
default is mended.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """One defect. ``where`` is a file of ToolBench; ``compat`` the function of this package that repeats it with ``compat=True``, or ""."""

    name: str
    upstream: str
    reason: str  # why it is wrong
    ours: str
    where: str
    compat: str = ""


DEFECTS = (
    Defect(
        "optional parameters lost",
        "An API without required parameters loses its optional ones.",
        "The model is told that it may not say what the query asks for: 246 of 2,490 real APIs end up without any parameter.",
        "They are kept.",
        "toolbench/inference/Downstream_tasks/rapidapi.py",
        "data.names.function_of",
    ),
    Defect(
        "a call of no function is trained",
        "A call of a function that is not on the list was renamed invalid_hallucination_function_name, and is a target.",
        "The model learns to write a name that stands for a mistake; the name it replaced is lost.",
        "Such a call is no target, and leaves the rows after it, together with its observation.",
        "toolbench/inference/Downstream_tasks/rapidapi.py",
        "data.trees.training_rows",
    ),
    Defect(
        "the search speaks in the conversation",
        "Where an earlier try of a state had failed, a second user turn lists the tries; of several such turns a row keeps the last.",
        "No user says that, and rows of one path are no longer prefixes of each other. What is thought in reply makes no sense without it.",
        "The turn is left out, and so is the thought that replies to it.",
        "preprocess/preprocess_toolllama_data.py",
        "data.trees.training_rows",
    ),
    Defect(
        "thoughts lost",
        "What is said beside a call is dropped, and so is a thought that a prompt of the search follows.",
        "Nearly all targets have an empty Thought, though the model that made the data did think aloud.",
        "It becomes the turn's Thought.",
        "preprocess/preprocess_toolllama_data.py",
        "data.trees.training_rows",
    ),
    Defect(
        "two thoughts, two labels",
        "A thought in a message of its own, followed by another, gives a turn with two lines that begin with Thought.",
        "A parser that expects one Thought reads the second label as text.",
        "One Thought, of several lines.",
        "preprocess/preprocess_toolllama_data.py",
        "data.trees.training_rows",
    ),
    Defect(
        "finish_type is not what happened",
        "finish_type says give_answer unless the search gave up, so also where it ended without any Finish.",
        "Counting answers by it counts failures.",
        "AnswerGeneration.ending reads the last call.",
        "toolbench/inference/Algorithms/DFS.py",
    ),
    Defect(
        "one end of turn in a row",
        "Only a row's last turn ends in </s>; the assistant's turns before it end in a line break.",
        "The same turn is written in two ways, and the shorter row's last token has no place in the longer row, so none can be merged.",
        "Every assistant turn ends in </s>.",
        "toolbench/train/train.py",
        "data.merge.merge_rows",
    ),
    Defect(
        "every beginning is a row",
        "A path of five calls becomes five rows, each of which holds all that was said before.",
        "The same text is read up to five times, for no gradient that is not there without it.",
        "Rows that are prefixes of others are merged, with the turns to train remembered.",
        "preprocess/preprocess_toolllama_data.py",
        "data.merge.merge_rows",
    ),
    Defect(
        "the mask is found in the text",
        "Which tokens are trained is found by splitting the text at the roles' names and counting tokens, minus a constant made for LLaMA.",
        "With another tokenizer it is off by one; where padding is </s> all is masked; an observation that holds </s> is trained.",
        "Ids and mask are made together (text.flatten), and special tokens in a text stay text.",
        "toolbench/train/train.py",
    ),
)
