"""What every test shares: hypothesis draws the same examples everywhere, and takes the time it needs."""

from hypothesis import settings

settings.register_profile("arbsim", derandomize=True, deadline=None, database=None)
settings.load_profile("arbsim")
