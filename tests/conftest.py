"""What every test shares: hypothesis draws the same examples everywhere, and takes the time it needs."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "arbsim",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("arbsim")
