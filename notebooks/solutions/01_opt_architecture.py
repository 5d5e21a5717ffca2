"""Solutions of lesson 01. Try first; then solution("01.1") prints the section of that number."""

# %% 01.1
raised = [2**0, 2**-1, 0]  # Lisbon's query (0, -1) times the keys (0, 0) and (0, 1); call comes later
shares = [number / sum(raised) for number in raised]  # 2/3, 1/3, 0
values = [[2, -1], [-1, 2], [1, 2]]
mixed = [sum(share * value[k] for share, value in zip(shares, values, strict=True)) for k in range(2)]
lisbon_by_hand = {"shares": shares, "mixed": mixed}


# %% 01.2
def shares_masked_late(q, k):
    """Attention's shares with the mask after the softmax. q, k: T rows of K numbers -> T rows of T."""
    import torch

    q, k = torch.tensor(q), torch.tensor(k)
    scores = q @ k.T / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1).tril()  # the mistake: the mask should come before the softmax


# %% 01.3
who_notices = {"one_layer": [3], "all_layers": [3]}  # the mask is in every layer

# %% 01.4
V, E, D = 50_272, 512, 1024
half_the_width = {"embedding_at_1024": V * D, "projections": 2 * E * D, "saved": V * D - (V * E + 2 * E * D)}

# %% 01.5
V, E, D, F, L = 50_272, 512, 1024, 4096, 24
count_by_hand = {
    "embedding": V * E,  # the head is the same table
    "positions": (2048 + 2) * D,
    "projections": 2 * E * D,  # in and out, no bias
    "attention": 4 * (D * D + D),  # queries, keys, values, out
    "feed_forward": 2 * D * F + F + D,
    "norms": 2 * 2 * D,  # two a layer, scale and shift each
}
layer = count_by_hand["attention"] + count_by_hand["feed_forward"] + count_by_hand["norms"]
count_by_hand["total"] = V * E + (2048 + 2) * D + 2 * E * D + L * layer  # no norm after the last layer

# %% 01.6
what_grows = {
    "most_parameters": "experts",  # 63 more feed-forwards in each layer
    "most_active": "layers",  # every token goes through all of them
    "fewest_parameters": "context",  # 6,144 rows of 1,024
}
