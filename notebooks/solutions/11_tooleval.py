"""Solutions of lesson 11. Try first; then solution("11.1") prints the section of that number."""

import math

# %% 11.1
verdicts_by_hand = [
    True,  # A looked it up and said it
    False,  # B never looked it up: right by luck
    False,  # C also says Oslo's weather, which nobody asked for
    True,  # D asks for the city that the query lacks
    True,  # E gives up where no API can help
]

# %% 11.2
fooling_answer = "It is sunny, 19 degrees, or it snows: snow, -4 degrees."

# %% 11.3
middle = (4 + 2) / (5 + 4)
half = 2 * math.sqrt(4 * 1 / 5 + 1) / (5 + 4)
interval_by_hand = {"middle": middle, "low": middle - half, "high": middle + half}

# %% 11.4
width_factor = math.sqrt(50 / 200)
