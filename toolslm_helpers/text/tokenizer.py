"""Tokenizers with OPT's habits: OPT's own, read from its two files, and the workbook's small one.

OPT's habits (facebook/opt-350m): ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3; ``</s>`` both begins a text and ends it; byte-level BPE,
so that every text can be written and none needs ``<unk>``; no space is put before the first word. OPT has no chat template: ours
is ``CHAT_TEMPLATE``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from toolslm_helpers.files import DataError, data_samples, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # in the order of their ids
END = "</s>"
END_ID = 2

# ToolBench's delimiters: "System: ...", "User: ...", "Assistant: ...", "Function: ...", a line break after each (toolbench/train/train.py).
# What stands between the generation markers is what the loss is computed on: an assistant's content and the </s> that ends its turn.
# ToolBench writes one </s>, after the last turn; a trajectory that is trained on every turn needs one after each, or it never learns to stop.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ': ' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)


def _with_opt_habits(tokenizer: "Tokenizer") -> "PreTrainedTokenizerFast":
    """Wraps a byte-level BPE of the tokenizers library so that transformers and TRL see a tokenizer with OPT's habits.

    The vocabulary must hold ``SPECIAL_TOKENS`` at ids 0 to 3; raises DataError where it does not. The normalizer, pre-tokenizer and
    decoder are kept as they are.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    for id_, token in enumerate(SPECIAL_TOKENS):
        if (found := tokenizer.token_to_id(token)) != id_:
            raise DataError(
                f"vocabulary: {token} has id {found}, expected {id_}. "
                "Usual cause: GPT-2's own vocab.json instead of OPT's gpt2-vocab.json. Use OPT's file."
            )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))  # already in the vocabulary: this only makes them unsplittable
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, END_ID)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def load_opt_tokenizer(vocab_path: str | Path, merges_path: str | Path) -> "PreTrainedTokenizerFast":
    """OPT's tokenizer from the two files that metaseq publishes (projects/OPT/assets): gpt2-vocab.json and gpt2-merges.txt.

    Ids and decoding equal those of facebook/opt-350m on the hub; 50,265 pieces. Raises DataError that names the file which is missing,
    broken, or does not belong to the other.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = read_json(vocab_path)
    if not isinstance(vocabulary, dict) or not all(type(id_) is int for id_ in vocabulary.values()):
        raise DataError(f"{vocab_path}: expected one JSON object from piece to id, as in gpt2-vocab.json.")
    try:
        lines = Path(merges_path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{merges_path}: could not be read ({error}). Expected OPT's gpt2-merges.txt.") from error
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        pair = tuple(line.split(" "))
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
            raise DataError(
                f"{merges_path}: line {number}: {line[:60]!r} is no merge of two pieces of {vocab_path}. "
                "Usual cause: files of two different tokenizers, or a cut download. Fetch both again."
            )
        merges.append(pair)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _with_opt_habits(tokenizer)


# Whole pieces of the small tokenizer: what the protocol and JSON always write the same way. Chat models have such tokens for their roles.
PROTOCOL_PIECES = (
    "System: ", "User: ", "Assistant: ", "Function: ", "\nThought: ", "\nAction: ", "\nAction Input: ", "Finish", "I need the ",
    ":string", ":integer", '": "', '", "', '{"error": "', '", "response": ', '{"return_type": "', "give_answer",
    "give_up_and_restart", '", "final_answer": "', "_for_",
)  # fmt: skip
# A space is a piece of its own, but for the one that follows a word like these.
_LITTLE_WORDS = "the|of|is|are|for|and|in|on|at|by|to|a|an|any|one|me|that|with"


def train_small_tokenizer(texts: "Iterable[str]", vocabulary_size: int = 1000) -> "PreTrainedTokenizerFast":
    """Trains the small tokenizer: byte-level BPE in which only lower-case letters, or marks, merge among themselves.

    Every digit, capital, line break and nearly every space stays a piece of its own. So a word is the same pieces after a space, an
    underscore or a quotation mark, and a number is its digits: copying a name from a description into a call is copying the same ids.
    ``vocabulary_size`` includes the special tokens and ``PROTOCOL_PIECES``.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    pattern = rf"\b(?:{_LITTLE_WORDS}) |[a-z]+|[^A-Za-z0-9\s]+|[\s\S]"
    pieces = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(PROTOCOL_PIECES),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in PROTOCOL_PIECES])
    return _with_opt_habits(tokenizer)


def small_tokenizer_path() -> Path:
    """Where the shipped small tokenizer lies."""
    return data_samples() / "tokenizer" / "tokenizer.json"


def load_small_tokenizer() -> "PreTrainedTokenizerFast":
    """The shipped small tokenizer. Raises DataError that says how to make it where the file is missing or damaged."""
    from tokenizers import Tokenizer

    path = small_tokenizer_path()
    try:
        return _with_opt_habits(Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except DataError:
        raise
    except Exception as error:  # the tokenizers library raises a bare Exception for a damaged file
        raise DataError(
            f"{path}: cannot be read as a tokenizer ({error}). Make it again with `toolslm stages tokenizer`."
        ) from error
