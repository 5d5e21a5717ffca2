"""Solutions of lesson 07. Try first; then solution("07.1") prints the section of that number."""

# %% 07.1
bits = {3: 1, 4: 1, 8: 4, 9: 2}  # call and its </s>, done and its </s>: shares of 1/2, 1/2, 1/16, 1/4
ten_tokens = {"graded": list(bits), "bits": sum(bits.values()) / len(bits)}

# %% 07.2
shares = [1 / 20, 1 / 5, 1 / 5, 2 / 5, 1 / 10, 1 / 20]
right = [0, 0, 0, 0, 1, 0]  # sunny
pushed = [(share - one) / 2 for share, one in zip(shares, right, strict=True)]  # 1/40, 1/10, 1/10, 1/5, -9/20, 1/40

# %% 07.3
for_the_ungraded = {
    "gradient": "zero",  # its row of the gradient is zero, exactly
    "share": "not zero",  # the step moved project_out, which every prediction uses
    "read": "not zero",  # attention looks back at it from every graded prediction
    "target": "zero",  # its label is -100, whatever the word is
}

# %% 07.4
turns = [2, 3, 5]
turns_graded = {
    "rows": sum(turns),  # one for each assistant turn
    "last_turn": sum(turns),  # one graded turn a row
    "all_turns": sum(t * (t + 1) // 2 for t in turns),  # the row that ends at turn k grades k turns: 3 + 6 + 15
    "first_turn": max(turns),  # it stands in every row of its trajectory
}


# %% 07.5
def mask_stays_behind(ids, mask):
    """Labels under a mask that did not move along with the targets."""
    return [ids[t] if t > 0 and mask[t - 1] else -100 for t in range(len(ids))]


# %% 07.6
training_loss_says = {
    "mask dropped": "higher",  # it also grades what users and APIs say
    "mask one late": "about the same",  # one token of each turn is another one
    "end masked": "about the same",  # one token of each turn is missing
    "pad is </s>": "zero",  # nothing is graded: a sum over nothing
}
