"""Solutions of lesson 00. Try first; then solution("00.2") prints the section of that number."""

import math

# %% 00.1
average_of_the_six = "higher"  # G3 counts like a full set there, and its 80.0 is above most of the others

# %% 00.2
counts = [157, 148, 158, 161, 149, 80]  # 78.5% of 200 is 157, and so on; G3 has 100 queries
passed = sum(counts)
rate = passed / 1100
one_error = math.sqrt(rate * (1 - rate) / 1100)
claim_by_hand = {"passed": passed, "margin": 2 * one_error * 100}

# %% 00.3
conversation_by_hand = {"messages": 7, "written_by_the_model": 3, "api_calls": 2, "failed_calls": 1}

# %% 00.4
broken_call = "{'city': 'Lisbon'}"  # how Python prints a dictionary; JSON wants double quotes
