"""Property tests draw the same examples in every run: what is green on one machine is green on every other."""

from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, database=None)
settings.load_profile("reproducible")
