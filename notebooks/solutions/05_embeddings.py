"""Solutions of lesson 05. Try first; then solution("05.1") prints the section of that number."""

# %% 05.1
lookup_by_hand = {
    "one_hot": [[0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0]],  # done has id 5, Lisbon id 2; ids begin at 0
    "product": [[0, -1], [-2, -1]],  # a one times a row is that row
}

# %% 05.2
directions = {"paper": 2, "opt-mini": 80, "OPT-350M": 512}  # E: each word is a mixture of the E columns of project_in

# %% 05.3
sunny_first = {
    "word": [-1, -1],  # row 4 of the embedding
    "projected": [-1, 0, 1, 1],  # times (0, 1), (-1, 1), (-1, 0), (0, -1)
    "x": [-2, 0, 0, 1],  # plus row 0 + 2 of positions: (-1, 0, -1, 0)
}


# %% 05.4
def rows_padding_counted(mask):
    """Every place counts, padded or not."""
    return [k + 2 for k in range(len(mask))]  # the mistake: the mask is not looked at


# %% 05.5
head_by_hand = {
    "logits": [0, -2, 0, -2, 1, 2],  # (1, -2) times the row of each word
    "next": "done",
}

# %% 05.6
table = 50_272 * 512
everything_else = 305_457_152
tied_count = {"table": table, "tied": table + everything_else, "untied": table + everything_else + table}
