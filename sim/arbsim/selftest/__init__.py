"""Does the audit catch what it should? Known bugs are planted in good histories and in safe designs."""

from arbsim.selftest.run import Case, run_selftest

__all__ = ["Case", "run_selftest"]
