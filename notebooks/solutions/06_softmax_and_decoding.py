"""Solutions of lesson 06. Try first; then solution("06.1") prints the section of that number."""

import math

# %% 06.1
raised = [1 / 2, 1 / 2, 2, 1, 2, 2]  # 2 to the power of -1, -1, 1, 0, 1, 1
shares_of_call = [x / sum(raised) for x in raised]  # over 8: 1/16, 1/16, 1/4, 1/8, 1/4, 1/4

# %% 06.2
raised = [2.0**x for x in (-2, -2, 2, 0, 2, 2)]  # the logits over 1/2, that is, doubled
shares_at_one_half = [x / sum(raised) for x in raised]  # over 13.5: 1/54, 1/54, 8/27, 2/27, 8/27, 8/27

# %% 06.3
breaking_rows = [[60.0, 59.0], [-60.0, -61.0]]  # e to the -120 is 0 in 32 bits, and 0 / 0 is nan

# %% 06.4
drawn = ["</s>", "Lisbon", "Lisbon", "call", "done"]  # cumulative: 0.05, 0.25, 0.45, 0.85, 0.95, 1

# %% 06.5
who_stays = {
    "k3": ["call", "weather", "Lisbon"],
    "p30": ["call"],  # 0.40 is 0.30 or more at once
    "p85": ["call", "weather", "Lisbon", "sunny"],  # 0.80 is not enough, 0.90 is
}

# %% 06.6
seconds = [1 / (1 + math.exp(gap / 0.1)) for gap in (0.1, 0.5, 1)]  # 0.27, 0.0067, 0.000045
how_often = {"0.1": "1 in 4", "0.5": "1 in 150", "1": "1 in 22,000"}


# %% 06.7
def next_allowed(written, names):
    """The pieces that may follow: the next one of every name that begins with all that is written."""
    n = len(written)
    return sorted({name[n] for name in names if name[:n] == written})
