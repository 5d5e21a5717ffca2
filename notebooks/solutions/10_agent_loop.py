"""Solutions of lesson 10. Try first; then solution("10.1") prints the section of that number."""

# %% 10.1
codes_by_hand = [
    12,  # refused: the parameter is called city, not town
    0,  # answered
    3,  # Finish, with an answer
]

# %% 10.2
misread_turn = (
    '\nThought: The last Action: was refused, I name the city.\nAction: get_weather_for_skylark\nAction Input: {"city": "Lisbon"}'
)

# %% 10.3
successes_predicted = [
    True,  # A: code 0, no error
    False,  # B: code 0, and an error
    False,  # C: refused
    True,  # D: the word error stands in the response only
    False,  # E: nothing at that address
]

# %% 10.4
path_at_fifth_turn = ["a", "b"]  # the end, back to the state after c, back to the state after b
