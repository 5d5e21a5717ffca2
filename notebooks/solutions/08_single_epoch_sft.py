"""Solutions of lesson 08. Try first; then solution("08.2") prints the section of that number."""

import math


# %% 08.1
def labels_padded_wrong(rows):
    """Rows of (ids, mask) -> labels; the gaps of short rows hold <pad> (1), as if somebody wanted it written."""
    longest = max(len(ids) for ids, mask in rows)
    filled = []
    for ids, mask in rows:
        labels = [i if graded else -100 for i, graded in zip(ids, mask, strict=True)]
        filled.append(labels + [1] * (longest - len(ids)))  # the mistake: -100 belongs here
    return filled


# %% 08.2
micro_batches = math.ceil(187_542 / 8)  # the last one holds 6 examples
steps_by_hand = {
    "micro_batches": micro_batches,
    "steps_kept": math.ceil(micro_batches / 4),  # the last step has 3 micro-batches
    "steps_dropped": micro_batches // 4,
}

# %% 08.3
rates_by_hand = {
    50: 5e-5 * 50 / 100,  # half-way up
    100: 5e-5,  # the top
    2980: 5e-5 * (5860 - 2980) / (5860 - 100),  # half-way down
}

# %% 08.4
loss_of_even_guessing = math.log(50_265)  # minus log of a share of 1 / 50,265

# %% 08.5
accumulation = 32 // (2 * 4)  # two cards, 4 rows each
on_two_cards = {
    "accumulation": accumulation,
    "steps": math.ceil(math.ceil(187_542 / (2 * 4)) / accumulation),  # as on one card: a step is 32 rows
    "examples_in_warm_up": 100 * 32,
}


# %% 08.6
def accumulated(micro_batches):
    """Token losses of each micro-batch -> what each adds to the loss of the step: its sum over the number of all tokens."""
    count = sum(len(losses) for losses in micro_batches)
    return [sum(losses) / count for losses in micro_batches]


# %% 08.7
in_half_precision = {
    "survives": False,  # 1e-9 is below half of the smallest float16, 2**-24
    "scale": 2 ** math.ceil(math.log2(2**-14 / 1e-9)),
    "largest": 65_504 / 65_536,
}
