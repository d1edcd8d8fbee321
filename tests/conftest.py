"""What every test shares.

Hypothesis draws the same examples everywhere, and takes the time it needs. Whoever starts the tests in the background
of a shell has Ctrl-C ignored, and commands inherit that: tests that interrupt one would wait for ever.
"""

import signal

from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "arbsim",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("arbsim")
