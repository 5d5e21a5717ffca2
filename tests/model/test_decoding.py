import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import OPTConfig, OPTForCausalLM
from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.decoding import continue_batch, generate_batch, next_token, only_allowed, probabilities, top_k, top_p
from toolslm_helpers.model.memory import BatchCache

VOCABULARY, POSITIONS = 60, 48


def tiny_opt(post_norm=True, embedding_width=8, attention="sdpa", seed=0, layers=2):
    """A random OPT whose wide weights make it write varied text, with OPT-350M's quirks as options."""
    torch.manual_seed(seed)
    config = OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, word_embed_proj_dim=embedding_width, num_hidden_layers=layers, ffn_dim=32,
        num_attention_heads=2, max_position_embeddings=POSITIONS, do_layer_norm_before=not post_norm, init_std=0.5,
        attn_implementation=attention,
    )  # fmt: skip
    return OPTForCausalLM(config)  # in train mode, with OPT's dropout of 0.1: generate_batch must switch it off


def random_prompts(count, longest=14, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(4, VOCABULARY, size=rng.integers(1, longest + 1)).tolist() for _ in range(count)]


def by_transformers(model, prompt, new_tokens, stop_id):
    """The reference: transformers' own greedy generate on one prompt, without padding."""
    model.eval()
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, eos_token_id=stop_id, pad_token_id=1,
        max_new_tokens=min(new_tokens, POSITIONS - len(prompt)),
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("post_norm", [True, False])
@pytest.mark.parametrize("embedding_width", [8, 16])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_greedy_is_generate_token_for_token(post_norm, embedding_width, attention):
    model = tiny_opt(post_norm, embedding_width, attention)
    prompts = random_prompts(9)
    free_running = [by_transformers(model, prompt, 12, None) for prompt in prompts]
    # the token that ends the rows at as many different steps as can be, so that rows leave the batch along the way
    written = sorted(set(itertools.chain(*free_running)))
    stop_id = max(written, key=lambda token: len({(*ids, token).index(token) for ids in free_running}))
    expected = [by_transformers(model, prompt, 12, stop_id) for prompt in prompts]
    assert len({len(ids) for ids in expected}) > 2
    assert generate_batch(model, prompts, 12, 0, range(9), stop_id) == expected
    assert generate_batch(model, prompts, 12, 0, range(9), None) == free_running


def test_left_padding_equals_generate_with_the_same_padding():
    model, prompts = tiny_opt().eval(), [[5, 6, 7, 8, 9, 10], [11, 12]]
    ids = torch.tensor([prompts[0], [1, 1, 1, 1, *prompts[1]]])
    padded = model.generate(
        ids, attention_mask=(ids != 1).long(), do_sample=False, eos_token_id=None, pad_token_id=1, max_new_tokens=10
    )  # fmt: skip
    assert generate_batch(model, prompts, 10, 0, [0, 1], None) == padded[:, 6:].tolist()


def test_a_full_row_that_is_still_in_the_batch_takes_no_positions():
    model, prompts = tiny_opt(), [[7] * POSITIONS, [7] * (POSITIONS - 2), *[[5 + k] for k in range(12)]]
    expected = [by_transformers(model, prompt, 10, None) if len(prompt) < POSITIONS else [] for prompt in prompts]
    assert generate_batch(model, prompts, 10, 0, range(14), None) == expected


def test_a_row_ends_where_the_positions_end():
    model = tiny_opt()
    prompts = [[7] * (POSITIONS - 3), [7] * POSITIONS, [9, 8]]
    outputs = generate_batch(model, prompts, 10, 0, [0, 1, 2], None)
    assert [len(ids) for ids in outputs] == [3, 0, 10]
    assert outputs == [by_transformers(model, prompts[0], 10, None), [], by_transformers(model, prompts[2], 10, None)]
    assert [len(ids) for ids in generate_batch(model, [[9, 8], [9, 8, 7, 6]], 10, 0, [0, 1], None, max_length=6)] == [4, 2]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 3.0))
def test_a_rows_text_does_not_depend_on_its_batch(seed, temperature):
    model = MODEL
    prompts = random_prompts(6, seed=seed)
    seeds = [(seed, row) for row in range(6)]
    together = generate_batch(model, prompts, 8, temperature, seeds, 5)
    alone = [generate_batch(model, [p], 8, temperature, [s], 5)[0] for p, s in zip(prompts, seeds, strict=True)]
    backwards = generate_batch(model, prompts[::-1], 20, temperature, seeds[::-1], 5)[::-1]
    assert together == alone
    assert together == [ids[:8] for ids in backwards]  # a larger budget draws the same numbers first


MODEL = tiny_opt(seed=3)


def test_seeds_give_different_rows_and_the_same_seed_the_same_row():
    prompt = [[9, 10, 11]] * 4
    first, second, third, again = generate_batch(MODEL, prompt, 15, 1.0, [1, 2, 3, 1], None)
    assert first == again and len({tuple(first), tuple(second), tuple(third)}) == 3


def test_generation_leaves_the_model_and_the_global_random_state_as_they_were():
    model = tiny_opt().train()
    state = torch.get_rng_state()
    first = generate_batch(model, [[4, 5, 6]], 20, 0, [0], None)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert first == generate_batch(model, [[4, 5, 6]], 20, 0, [0], None), "dropout was left on"


def test_probabilities_by_hand():
    logits = torch.log(torch.tensor([1.0, 4.0, 16.0]))
    assert probabilities(logits, 1).tolist() == pytest.approx([1 / 21, 4 / 21, 16 / 21])
    assert probabilities(logits, 2).tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7])  # temperature 2: square roots
    assert probabilities(logits, 0).tolist() == [0, 0, 1]
    assert probabilities(torch.tensor([[3.0, 3.0], [0.0, 1.0]]), 0).tolist() == [[1, 0], [0, 1]]


def test_next_token_by_hand():
    logits = torch.log(torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.24, 0.25, 0.7, 0.76, 1 - 2**-53], dtype=torch.float64)
    assert next_token(logits, 1.0, uniform).tolist() == [1, 1, 3, 3, 4, 4]  # a token of probability 0 never, at neither end
    assert next_token(logits, 0, uniform).tolist() == [3] * 6


def test_rounding_never_leads_past_the_last_token():
    logits = torch.randn(2000, 50, generator=torch.Generator().manual_seed(0))
    assert next_token(logits, 1.0, torch.full((2000,), 1 - 2**-53, dtype=torch.float64)).max() < 50


def test_sampled_frequencies_are_the_probabilities():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, 1.1]])
    uniform = torch.tensor(np.random.default_rng(0).random(20_000))
    counts = np.bincount(next_token(logits.expand(20_000, -1), 0.7, uniform).numpy(), minlength=5)
    assert stats.chisquare(counts, 20_000 * probabilities(logits[0], 0.7).numpy()).pvalue > 0.01


def test_low_temperature_approaches_greedy():
    prompts = random_prompts(5)
    assert generate_batch(MODEL, prompts, 10, 1e-6, range(5), None) == generate_batch(MODEL, prompts, 10, 0, range(5), None)


def test_only_allowed_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    masked = only_allowed(logits, [[0, 2], None, [1]])
    none = -torch.inf
    assert masked.tolist() == [[1, none, 3], [4, 5, 6], [none, 8, none]] and logits[0, 1] == 2, "a copy"
    assert probabilities(masked, 1.0)[2].tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="row 1: no token is allowed"):
        only_allowed(logits, [None, [], None])


def left(logits):
    """The ids that are still possible, for each row."""
    return [row.isfinite().nonzero().flatten().tolist() for row in logits]


def test_top_k_and_top_p_by_hand():
    """Shares 1/20, 1/5, 1/5, 2/5, 1/10, 1/20: the paper model's row of "Lisbon"."""
    logits = torch.log(torch.tensor([[1.0, 4.0, 4.0, 8.0, 2.0, 1.0]]))
    kept = logits.clone()
    assert left(top_k(logits, 1)) == [[3]] and left(top_k(logits, 4)) == [[1, 2, 3, 4]]
    assert left(top_k(logits, 2)) == [[1, 2, 3]], "equal logits share the last place"
    assert left(top_k(logits, 6)) == left(top_k(logits, 99)) == [[0, 1, 2, 3, 4, 5]]
    assert left(top_p(logits, 0.3)) == [[3]], "the token that crosses p stays: never nothing"
    assert left(top_p(logits, 0.5)) == [[1, 3]] and left(top_p(logits, 0.75)) == [[1, 2, 3]]
    assert left(top_p(logits, 0.85)) == [[1, 2, 3, 4]] and left(top_p(logits, 1)) == [[0, 1, 2, 3, 4, 5]]
    assert probabilities(top_p(logits, 0.75), 1)[0].tolist() == pytest.approx([0, 1 / 4, 1 / 4, 1 / 2, 0, 0])
    assert torch.equal(logits, kept), "a copy"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 70), st.floats(0.01, 0.99), st.sampled_from([torch.float32, torch.float64]))
def test_top_k_and_top_p_are_those_of_transformers(seed, k, p, dtype):
    logits = 4 * torch.randn(5, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    ids = torch.zeros(5, 1, dtype=torch.long)
    assert torch.equal(top_k(logits, k), TopKLogitsWarper(k)(ids, logits))
    assert torch.equal(top_p(logits, p), TopPLogitsWarper(p)(ids, logits))
    assert torch.equal(top_p(logits[0], p), top_p(logits, p)[0]), "a row alone is a row of the batch"


def test_top_p_of_one_keeps_what_rounding_would_lose():
    logits = torch.cat([torch.zeros(1, 1), torch.full((1, 3), -60.0)], dim=1)
    assert left(top_p(logits, 1)) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("bad", [lambda x: top_k(x, 0), lambda x: top_p(x, 0), lambda x: top_p(x, 1.01)])
def test_a_k_or_p_that_makes_no_sense_is_named(bad):
    with pytest.raises(ValueError, match="expected"):
        bad(torch.zeros(1, 3))


def test_what_is_not_allowed_is_not_written_and_the_rest_keeps_its_odds():
    """Each row has a rule of its own, which sees what the row has written; rows without one are as they would be anyway."""
    prompts, asked = random_prompts(6), {row: [] for row in range(6)}

    def allowed(row, written):
        asked[row].append(list(written))
        return None if row % 2 else [7, 8, 9] if len(written) < 4 else [5]

    free = generate_batch(MODEL, prompts, 10, 1.0, range(6), 5)
    held = generate_batch(MODEL, prompts, 10, 1.0, range(6), 5, allowed=allowed)
    for row, ids in enumerate(held):
        assert ids == free[row] if row % 2 else set(ids[:4]) <= {7, 8, 9} and ids[4:] == [5]
        assert asked[row] == [ids[:k] for k in range(len(ids))], "asked once for every token, with all before it"
    assert len({tuple(ids) for ids in held[::2]}) > 1, "which of the allowed is the model's choice"
    assert generate_batch(MODEL, prompts, 10, 1.0, range(6), 5, allowed=lambda row, written: None) == free


def test_greedy_takes_the_likeliest_of_the_allowed():
    (first,) = generate_batch(MODEL, [[9, 10, 11]], 1, 0, [0], None)[0]
    (second,) = generate_batch(
        MODEL, [[9, 10, 11]], 1, 0, [0], None, allowed=lambda *_: [i for i in range(VOCABULARY) if i != first]
    )[0]
    with torch.inference_mode():
        logits = MODEL.eval()(torch.tensor([[9, 10, 11]])).logits[0, -1]
    assert [first, second] == logits.topk(2).indices.tolist()


def test_bad_input_is_named():
    assert generate_batch(MODEL, [], 5, 0, [], 2) == []
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        generate_batch(MODEL, [[4], [5]], 5, 0, [0], 2)
    with pytest.raises(ValueError, match="prompts of 0 to 1 tokens"):
        generate_batch(MODEL, [[], [5]], 5, 0, [0, 1], 2)
    with pytest.raises(ValueError, match=f"1 to {POSITIONS + 1} tokens; expected 1 to {POSITIONS}"):
        generate_batch(MODEL, [[5], [5] * (POSITIONS + 1)], 5, 0, [0, 1], 2)
    with pytest.raises(ValueError, match="temperature is -1"):
        generate_batch(MODEL, [[5]], 5, -1, [0], 2)


def test_a_diverged_model_is_said_to_be_one():
    model = tiny_opt()
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.weight.fill_(float("nan"))
    with pytest.raises(WorkbookError, match="diverged"):
        generate_batch(model, [[4, 5]], 5, 0, [0], 2)


def test_what_was_read_is_not_read_again_and_nothing_else_changes():
    """Three turns of five conversations, by memory and by reading everything: the same text, and only the new tokens are read."""
    prompts, memories, read = random_prompts(5), [None] * 5, []
    model = tiny_opt(seed=4).eval()
    forward = model.forward
    model.forward = lambda ids, **kw: (read.append(ids.shape[1]), forward(ids, **kw))[1]
    for turn, news in enumerate(([], [[5], [6, 7], [8], [9, 10, 11], [12]], [[13, 14]] * 5)):
        prompts = [prompt + extra for prompt, extra in zip(prompts, news, strict=True)] if news else prompts
        expected = [by_transformers(tiny_opt(seed=4), prompt, 4, 5) for prompt in prompts]
        read.clear()
        rows = continue_batch(model, prompts, memories, 4, 0, range(5), 5)
        assert [row.ids for row in rows] == expected
        # new are the extra tokens, and the last token written, which was never read
        assert read[0] == (max(map(len, prompts)) if turn == 0 else 1 + max(map(len, news)))
        prompts = [prompt + row.ids for prompt, row in zip(prompts, rows, strict=True)]
        memories = [row.memory for row in rows]
        assert [memory.ids for memory in memories] == [tuple(prompt[:-1]) for prompt in prompts]


def test_a_memory_counts_as_far_as_it_is_the_prompt():
    model, prompt = tiny_opt(seed=4).eval(), [9, 8, 7, 6, 5, 4]
    (row,) = continue_batch(model, [prompt], [None], 5, 0, [0], None)
    others = ([9, 8, 7, 20, 21], [9], [30, 31], prompt, prompt + row.ids + [11])
    assert [row.memory.known(other) for other in others] == [3, 0, 0, 5, 10]
    for other in others:
        for memory in (row.memory, None):
            (again,) = continue_batch(model, [other], [memory], 6, 0, [0], None)
            assert again.ids == by_transformers(model, other, 6, None)
    mixed = continue_batch(model, [prompt + [3], [30, 31, 32]], [row.memory, None], 6, 0, [0, 1], None)
    assert [r.ids for r in mixed] == [by_transformers(model, p, 6, None) for p in (prompt + [3], [30, 31, 32])]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_sampled_text_is_the_same_with_a_memory(seed):
    prompts = random_prompts(4, seed=seed)
    first = continue_batch(MODEL, prompts, [None] * 4, 5, 1.0, range(4), 5)
    longer = [[*p, *row.ids, 17] for p, row in zip(prompts, first, strict=True)]
    second = continue_batch(MODEL, longer, [row.memory for row in first], 8, 1.0, range(4), 5)
    assert [row.ids for row in second] == generate_batch(MODEL, longer, 8, 1.0, range(4), 5)


def test_memories_that_do_not_match_are_named_and_no_room_leaves_none():
    with pytest.raises(ValueError, match="2 prompts but 1 memories"):
        continue_batch(MODEL, [[4], [5]], [None], 5, 0, [0, 1], 2)
    full, short = continue_batch(MODEL, [[7] * POSITIONS, [7]], [None, None], 3, 0, [0, 1], None)
    assert (full.ids, full.memory) == ([], None) and len(short.memory.ids) == 3


def test_a_cache_keeps_some_rows_in_place_and_drops_columns():
    states = torch.arange(2 * 2 * 6 * 1 * 9 * 3.0).reshape(2, 2, 6, 1, 9, 3)  # (L, 2, B, H, C, K)
    for rows in ([0, 3, 5], [4, 5], [0, 1, 2], [5], [0, 1, 2, 3, 4, 5]):
        order, cache = BatchCache(states.clone(), 7).keep(rows, 2, 7)
        assert sorted(order) == rows and cache.get_seq_length() == 5 and cache.states.shape == (2, 2, len(rows), 1, 7, 3)
        assert torch.equal(cache.states[:, :, :, :, :5], states[:, :, order, :, 2:7])


def test_rows_are_read_in_groups_into_one_cache():
    """A group's columns are its own: what others hold, and what lies to its left, stays as it was."""
    before, cache = torch.tensor(7.0), BatchCache.reserve(MODEL, 4, 10, 6)
    assert not cache.states.any() and cache.states.dtype == MODEL.dtype
    cache.states.fill_(before.item())
    part = cache.part(slice(1, 3), 2, 3)  # three of its columns are filled: it writes the cache's column 5
    key = torch.randn(2, MODEL.config.num_attention_heads, 1, MODEL.config.hidden_size // MODEL.config.num_attention_heads)
    keys, values = part.update(key, 2 * key, 0)
    assert keys.shape[2] == values.shape[2] == 4 == part.get_seq_length() and cache.get_seq_length() == 6
    assert torch.equal(cache.states[0, :, 1:3, :, 5], torch.stack([key[:, :, 0], 2 * key[:, :, 0]]))
    cache.states[0, :, 1:3, :, 5] = before
    assert (cache.states == before).all()
