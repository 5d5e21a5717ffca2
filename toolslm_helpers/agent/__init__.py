"""The agent loop: gold play, the virtual API, and the search that a model runs in."""
