"""Solutions of lesson 09. Try first; then solution("09.2") prints the section of that number."""

import math

# %% 09.1
positions = [1.0]
for _ in range(3):
    positions.append(positions[-1] - 1.25 * 2 * positions[-1])  # each step multiplies by 1 - 2 * 1.25 = -1.5
walk_by_hand = {"x1": positions[1], "x2": positions[2], "x3": positions[3], "limit": 1.0}  # 1 - 2 * rate = -1

# %% 09.2
first_step = [-5e-4 * gradient / abs(gradient) for gradient in (0.003, -40.0)]  # g over the root of g * g


# %% 09.3
def warmup_steps(examples, batch, epochs, share):
    """The share of all optimiser steps of a run."""
    steps = epochs * math.ceil(examples / batch)  # the last, smaller batch of an epoch is a step, too
    return round(share * steps)


# %% 09.4
norm = math.sqrt(3.0**2 + 4.0**2 + 7.2**2 + 9.6**2)  # of all parameters together: 13
factor = min(1.0, 6.5 / norm)
clipped_by_hand = {"norm": norm, "A": [factor * 3.0, factor * 4.0], "B": [factor * 7.2, factor * 9.6]}


# %% 09.5
def clip_always(gradient, max_norm):
    """Every gradient gets the same length, also one that says: we have arrived."""
    norm = math.sqrt(sum(x * x for x in gradient))
    return [x * max_norm / norm for x in gradient]  # the mistake: min(1, ...) is missing


# %% 09.6
def share_clipped(norms, threshold):
    """Steps whose gradient was cut, of all steps; at the threshold the factor is 1."""
    return sum(norm > threshold for norm in norms) / len(norms)


# %% 09.7
noise_falls = {"8 to 32": math.sqrt(8 / 32), "8 to 1": math.sqrt(8 / 1)}  # the variance falls as 1 / B
