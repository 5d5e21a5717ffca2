"""Solutions of lesson 03. Try first; then solution("03.1") prints the section of that number."""

# %% 03.1
names_by_hand = {
    "a": "stations_v2_for_air_quality_eu",  # marks and spaces to _, several to one, none at the ends
    "b": "is_id_for_movie_db",  # id by itself is reserved
    "c": "latest_for_get_24_7_news",  # no name begins with a digit
}

# %% 03.2
rows_of_the_tree = {"rows": 4, "conversations": 1}  # the kept path has four calls, Finish included; all rows tell the same

# %% 03.3
graded_how_often = {"first": 4, "last": 1, "all": 1 + 2 + 3 + 4}

# %% 03.4
merged_by_hand = {
    "examples": 2,  # row 3 stands for 1 and 2, row 5 for 4
    "messages": 6 + 7,
    "graded": 5,  # one for each row, wherever it went
}

# %% 03.5
new_in_each_set = {
    "G1_instruction": "wording",
    "G1_tool": "tools",  # of categories that training knows
    "G1_category": "categories",
    "G2_instruction": "wording",
    "G2_category": "categories",
    "G3_instruction": "wording",
}


# %% 03.6
def looks_wrong(query, calls):
    """True where a text among the arguments was said by nobody before."""
    said = query.lower()
    for arguments, observation in calls:
        if any(isinstance(value, str) and value.lower() not in said for value in arguments.values()):
            return True
        said += observation.lower()
    return False
