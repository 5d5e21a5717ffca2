"""Solutions of lesson 02. Try first; then solution("02.1") prints the section of that number."""

import math

# %% 02.1
graded_by_hand = {
    "left_out": [0],  # nothing stands before it
    "every_turn": [6, 7, 11, 12],  # two turns, each with the </s> that ends it
    "last_turn": [11, 12],
}


# %% 02.2
def labels_never_stop(ids, opens, closes):
    """The assistant's words are labels, the token that ends its turn is not."""
    labels, speaking = [], False
    for i in ids:
        labels.append(i if speaking and i != closes else -100)  # the mistake: `closes` should be a label while speaking
        speaking = (speaking or i == opens) and i != closes
    return labels


# %% 02.3
what_each_does = {
    "base": "goes on",  # never graded on </s>
    "instruct": "answers",  # graded on answers and their </s>, never on a call
    "sft": "calls",
}

# %% 02.4
first = math.log(8)  # minus log of a share of 1/8
again = 0.0  # minus log of 1: the name is in the text already
lowest_loss = {"first": first, "again": again, "mean": (first + again) / 2}
