"""opt-mini's own numbers on the worksheets: the lesson's steps on inputs from the shipped checkpoint, rounded to four decimals.

Its rows are wide and its vocabulary is large, so a sheet shows the first columns and the likeliest pieces, and says so.
"""

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from toolslm_helpers.teaching.quantities import Paper
from toolslm_helpers.teaching.views import visible
from toolslm_helpers.teaching.worksheet_papers import AFTER, NATS, SAID, SOFTMAX, WORDS, K, add_draw, add_temperature, copy

if TYPE_CHECKING:
    import torch

    from toolslm_helpers.text.flatten import FlatExample

SENTENCE = "sunny in Lisbon"
FIRST = 4  # columns of opt-mini's wide rows that stand on a sheet
QUERIES = 8  # test queries among whose right calls the least sure place is sought
COLUMNS = 12  # pieces whose logits are shown
LETTERS = 24  # of the text before a decision, enough to find it


def own(lesson: str) -> Paper:
    """The lesson's steps on numbers of the shipped checkpoint ``sft``, for texts of the series' toy."""
    return {"01": _own_attention, "05": _own_embedding, "06": _own_decision, "07": _own_loss}[lesson]()


def _numbers(tensor: "torch.Tensor") -> list[list[float]]:
    return [[round(cell, 4) for cell in row] for row in tensor.tolist()]


def opt_mini() -> tuple[Any, Any]:
    """(opt-mini as ``OPT``, its tokenizer)."""
    from toolslm_helpers.model.checkpoints import load_model
    from toolslm_helpers.model.opt import OPT

    model, tokenizer = load_model("sft")
    return OPT.from_transformers(model.config, model.state_dict()).eval(), tokenizer


def _pieces(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(visible(tokenizer.decode([int(id_)])) for id_ in ids)


def _sentence(tokenizer: Any) -> tuple["torch.Tensor", tuple[str, ...]]:
    """(ids (1, T), the pieces) of a short sentence, without the </s> that the tokenizer puts first."""
    import torch

    ids = tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]
    return torch.tensor([ids]), _pieces(tokenizer, ids)


def _own_attention() -> Paper:
    """The head of the first layer whose last token looks least at itself: scores and the first columns of its values."""
    import torch

    model, tokenizer = opt_mini()
    ids, pieces = _sentence(tokenizer)
    attention = model.layers[0].self_attn
    with torch.no_grad():
        x = model.embed(ids)
        q, k, v = (
            attention.split(project(x))[0] for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )  # (H, T, K)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (H, T, T)
    head = int(scores.softmax(dim=-1)[:, -1, -1].argmin())
    values = {"base": [[math.e]], "scores 1": _numbers(scores[head]), "value 1": _numbers(v[head, :, :FIRST])}
    labels = {SAID: pieces, K: tuple(f"K{j + 1}" for j in range(FIRST))}
    said = {"words": f"layer 1, head {head + 1} of opt-mini: query times key / root of {q.shape[-1]}"}
    value = {"words": f"the first {FIRST} of its {v.shape[-1]} columns"}
    names = ("base", "scores 1", "raised 1", "total 1", "attention 1", "value 1", "mixed 1")
    return copy(Paper(), names, values, labels, base={"words": "e"}, scores_1=said, value_1=value)


def _own_embedding() -> Paper:
    """A sentence through embedding, projection and positions, and the last token's way back: the first columns, the others summed up."""
    import torch

    model, tokenizer = opt_mini()
    ids, pieces = _sentence(tokenizer)
    table, said = list(dict.fromkeys(ids[0].tolist())), len(pieces)
    with torch.no_grad():
        embedding, project_in = model.embed_tokens.weight[table], model.project_in.weight  # (n, E), (D, E)
        rest = model.embed_tokens(ids)[0, :, FIRST:] @ project_in[:FIRST, FIRST:].T  # (T, 4)
        positions = model.embed_positions.weight[: said + 2, :FIRST]
        x = model.embed(ids)
        for layer in model.layers:
            x = layer(x, None)
        output = model.project_out(x)[0, -2:]  # (2, E): of the last two tokens
    names, ends = _pieces(tokenizer, table), pieces[-2:]
    wide, narrow = tuple(f"E{k + 1}" for k in range(FIRST)), tuple(f"D{k + 1}" for k in range(FIRST))
    width = embedding.shape[1]
    p = Paper()
    p.given("tokens", "(T, 1)", "rows of the table beside it", [[table.index(id_)] for id_ in ids[0].tolist()], pieces, ("row",))
    p.given(
        "embedding",
        "(V, E)",
        f"opt-mini's rows for these pieces, {FIRST} of {width} columns",
        _numbers(embedding[:, :FIRST]),
        names,
        wide,
    )
    p.then("embedded", "lookup", ["tokens", "embedding"], "(T, E)", "the row of each token", pieces, wide)
    p.given("project_in", "(D, E)", f"{FIRST} of its rows and columns", _numbers(project_in[:FIRST, :FIRST]), narrow, wide)
    p.then("projected", "linear", ["embedded", "project_in"], "(T, D)", f"what columns E1 to E{FIRST} bring", pieces, narrow)
    p.given("projected, rest", "(T, D)", f"what columns E{FIRST + 1} to E{width} bring", _numbers(rest), pieces, narrow)
    p.given("rows", "(T, 1)", "place + 2", [[k + 2] for k in range(said)], pieces, ("row",))
    p.given("positions", "(P + 2, D)", f"the first rows of the table, {FIRST} columns", _numbers(positions),
            ("0 (padding)", "1 (padding)", *(str(k + 2) for k in range(said))), narrow)  # fmt: skip
    p.then("placed", "lookup", ["rows", "positions"], "(T, D)", "the row of each place", pieces, narrow)
    p.then("x", "add", ["projected", "projected, rest", "placed"], "(T, D)", "word + place", pieces, narrow)
    p.given("output", "(T, E)", f"after the last layer: {FIRST} of {width} columns", _numbers(output[:, :FIRST]), ends, wide)
    p.then("logits, part", "linear", ["output", "embedding"], "(T, V)", f"what columns E1 to E{FIRST} bring", ends, names)
    p.given("logits, rest", "(T, V)", f"what columns E{FIRST + 1} to E{width} bring",
            _numbers(output[:, FIRST:] @ embedding[:, FIRST:].T), ends, names)  # fmt: skip
    p.then("logits", "add", ["logits, part", "logits, rest"], "(T, V)", "how well each piece fits as the next one", ends, names)
    return p


def _test_examples(tokenizer: Any) -> list["FlatExample"]:
    """The right answers to the first test queries, flattened."""
    from toolslm_helpers.agent.gold import gold_trajectory
    from toolslm_helpers.data.queries import test_queries
    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.text.flatten import flatten

    world = build_world()
    return [
        flatten(gold_trajectory(world, query, "compact"), tokenizer) for query in test_queries(world, "G1_instruction")[:QUERIES]
    ]


def _logits(model: Any, example: "FlatExample") -> tuple["torch.Tensor", "torch.Tensor"]:
    """(ids (T,), logits (T, V))."""
    import torch

    ids = torch.from_numpy(example.input_ids.astype("int64"))
    with torch.no_grad():
        return ids, model(ids[None])[0]


def _own_decision() -> Paper:
    """The place inside an API's name where the model is least sure, in the right calls for a few test queries: its largest logits."""
    model, tokenizer = opt_mini()
    sure, row, before = 2.0, None, ""
    for example in _test_examples(tokenizer):
        ids, logits = _logits(model, example)
        pieces = [tokenizer.decode([int(id_)]) for id_ in ids]
        for place in _inside_names(pieces):
            largest = float(logits[place - 1].softmax(dim=-1).max())
            if example.loss_mask[place] and largest < sure:
                sure, row, before = largest, logits[place - 1], "".join(pieces[:place])[-LETTERS:]
    top = row.topk(COLUMNS)
    ending, columns = ("next piece",), _pieces(tokenizer, top.indices)
    p = Paper()
    p.given("base", "(1, 1)", "e", [[math.e]])
    said = f"opt-mini's {COLUMNS} largest of {len(row)}, inside an API's name, after a text that ends in: {visible(before)}"
    p.given("logits", "(T, V)", said, _numbers(top.values[None]), ending, columns)
    p.then("lowered", "below largest", ["logits"], "(T, V)", "logit - the largest: shares stay as they are", ending, columns)
    p.then("raised", "power", ["lowered", "base"], "(T, V)", "base to the power of the lowered logit", ending, columns)
    p.then("total", "total", ["raised"], "(T, 1)", "sum of the row", ending, ("total",))
    p.then("p", "share", ["raised", "total"], "(T, V)", "share among these", ending, columns)
    p.then("next", "largest", ["p"], "(T, 1)", "the column with the largest share", ending, ("column",))
    add_temperature(p, 0.7, ending, columns, "lowered")
    return add_draw(p, [[0.9]], ending, columns)


def _inside_names(pieces: Sequence[str]) -> list[int]:
    """The places of the pieces that begin inside an API's name."""
    starts = list(accumulate(map(len, pieces), initial=0))
    names = [match.span(1) for match in re.finditer(r"\nAction: (?!Finish\n)(.+)\nAction Input", "".join(pieces))]
    return [place for place, start in enumerate(starts[:-1]) if any(low <= start < high for low, high in names)]


def _own_loss() -> Paper:
    """Six places of the right answer to one of a few test queries: two before the assistant's first turn, and the four that cost most.

    The step is taken on the logits themselves: the weights behind them would not fit on a sheet.
    """
    import torch

    model, tokenizer = opt_mini()
    most = -1.0
    for example in _test_examples(tokenizer):
        ids, logits = _logits(model, example)
        costs = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")  # (T - 1,) nats, of tokens 1 to T - 1
        graded = torch.from_numpy(example.loss_mask[1:].copy())
        dearest = costs.where(graded, -1.0).topk(4)
        if float(dearest.values.sum()) > most:
            most, first = float(dearest.values.sum()), int(graded.int().argmax())
            places = torch.tensor([first - 2, first - 1, *sorted(dearest.indices.tolist())])  # each predicts the token after it
            read, targets, rows = ids[places], ids[places + 1], logits[places]
    kept = list(dict.fromkeys(targets.tolist()))
    likely = rows.softmax(dim=-1).amax(dim=0).argsort(descending=True).tolist()
    kept += [id_ for id_ in likely if id_ not in kept][: COLUMNS - len(kept)]
    names, columns = _pieces(tokenizer, read), _pieces(tokenizer, kept)
    lowered = (rows - rows.amax(dim=-1, keepdim=True))[:, kept]  # (6, COLUMNS) the same shares, and no power gets too large
    values = {"base": [[math.e]], "logits": _numbers(lowered), "targets": [[kept.index(int(t))] for t in targets],
              "graded": [[0], [0], [1], [1], [1], [1]], "rate": [[4]]}  # fmt: skip
    labels = {SAID: names, WORDS: columns}
    said = {
        "words": "opt-mini's, less the row's largest, for the targets and the likeliest other pieces; a row is named after the piece before"
    }
    p = copy(Paper(), ("base", "logits", *SOFTMAX, "targets", "losses", "graded", "loss", "gradient of logits", "rate"), values, labels,
             base={"words": "e"}, logits=said, losses=NATS, targets={"words": "which column came next"})  # fmt: skip
    p.then("logits after", "step", ["logits", "gradient of logits", "rate"], "(T, V)", "logit - rate * gradient", names, columns)
    return copy(p, AFTER[2:], values, labels, losses_after=NATS)
