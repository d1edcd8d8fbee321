"""Round trips between cloud regions."""

from __future__ import annotations

from arbsim.scenario.quantities import US

AWS_2025_SOURCE = (
    "cloudping.co, median (p50) over one year, captured on 2025-05-29; measured over TCP between AWS regions,"
    " so each figure includes the 2 to 5 ms that an endpoint takes to answer"
)

_LOCATIONS = (
    "us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1",
    "ap-southeast-1", "ap-northeast-1", "ap-south-1", "ap-southeast-2", "sa-east-1",
)  # fmt: skip

# In hundredths of a millisecond, from the location of the row to those of _LOCATIONS.
_AWS_2025 = {
    "us-east-1": (535, 1467, 6427, 6956, 9307, 21911, 14938, 19226, 19970, 11521),
    "us-west-2": (6397, 5063, 304, 11822, 14260, 16021, 9805, 22169, 14092, 17443),
    "eu-west-1": (6964, 8014, 11844, 288, 2729, 18196, 20099, 12593, 25568, 17806),
    "eu-central-1": (9261, 10328, 14233, 2686, 397, 16059, 22708, 12914, 25151, 20395),
    "ap-southeast-1": (21861, 20323, 16089, 18251, 16126, 363, 7073, 6383, 9473, 32740),
    "ap-northeast-1": (14915, 13454, 9846, 20108, 22763, 7047, 254, 13419, 10741, 25737),
    "ap-south-1": (18971, 19979, 22149, 12547, 12881, 6337, 13331, 305, 15434, 30115),
    "ap-southeast-2": (19970, 18800, 14102, 25560, 25177, 9475, 10633, 15450, 401, 31192),
    "sa-east-1": (11539, 12544, 17505, 17842, 20486, 32740, 25805, 30169, 31224, 315),
}


def _round_trips() -> dict[tuple[str, str], int]:
    """Return nanoseconds by ordered pair. What was measured one way only (us-east-2) holds both ways."""
    measured = {
        (source, target): hundredths * 10 * US
        for source, row in _AWS_2025.items()
        for target, hundredths in zip(_LOCATIONS, row, strict=True)
    }
    back = {(target, source): ns for (source, target), ns in measured.items()}
    return {**back, **measured}


DEFAULT_PRESET = "aws-2025"
PRESETS: dict[str, dict[tuple[str, str], int]] = {DEFAULT_PRESET: _round_trips()}
"""Round trips in nanoseconds by preset and ordered pair of two different locations."""


def locations(preset: str) -> tuple[str, ...]:
    """Return the locations that a preset knows."""
    return tuple(dict.fromkeys(source for source, _ in PRESETS[preset]))
