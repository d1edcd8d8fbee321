"""What a report of real servers says, and what it leaves to one in virtual time."""

from __future__ import annotations

from pathlib import Path

from arbsim.report import live, load_results

REPORTS = Path(__file__).parents[2] / "reports"
SEARCHED = "every order was tried"
REPEATED = "repeating one race"


def test_what_a_run_on_servers_shows_is_what_can_happen_no_more() -> None:
    once, repeated, simulated = (
        " ".join(live.caveats(load_results(REPORTS / name)))
        for name in ("two_regions_live", "two_regions_repeated_live", "two_regions")
    )
    assert SEARCHED in simulated
    assert SEARCHED not in once + repeated
    assert REPEATED in repeated
    assert REPEATED not in once + simulated
