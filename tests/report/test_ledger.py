"""The claims ledger: each sentence is judged by the run it stands in, and by nothing else."""

from __future__ import annotations

from arbsim.model import Verdict
from arbsim.report.ledger import ledger
from tests.report.results import shipped


def judged(name: str) -> dict[str, str]:
    return {claim.id: claim.judged for claim in ledger(shipped(name))}


def test_two_regions_speaks_to_all_but_the_change_stream() -> None:
    told = judged("two_regions")
    assert told == {
        "C1": "shown",  # on the bus alone both pass
        "C2": "contradicted",  # a log can keep a single-key rule: one writer, or a fold
        "C3": "shown",
        "C4": "contradicted",  # YugabyteDB shows the application no error
        "C5": "shown",
        "C6": "shown",
        "C7": "shown",
        "C8": "shown",
        "C9": "shown",
        "C10": "no evidence here",
        "C11": "no evidence here",
    }


def test_servers_differ_in_who_sees_a_serialization_error() -> None:
    assert judged("serializable_retry")["C4"] == "shown in part"


def test_the_change_stream_is_judged_where_there_is_one() -> None:
    told = judged("cdc_distribution")
    assert (told["C10"], told["C11"]) == ("shown", "shown")
    assert told["C1"] == "no evidence here"


def test_a_run_without_contention_is_evidence_for_nothing() -> None:
    assert set(judged("one_region").values()) == {"no evidence here"}


def test_evidence_that_points_the_other_way_changes_the_judgement() -> None:
    results = shipped("two_regions")
    broken = results.designs["db/select-for-update"].model_copy(update={"verdict": Verdict.VIOLATED})
    turned = results.model_copy(update={"designs": {**results.designs, "db/select-for-update": broken}})
    told = {claim.id: claim.judged for claim in ledger(turned)}
    assert told["C7"] == "contradicted"
    assert told["C8"] == "shown in part"


def test_every_claim_says_what_it_does_not_say_and_names_its_designs() -> None:
    for claim in ledger(shipped("two_regions")):
        assert claim.not_claimed
        assert bool(claim.evidence) == (claim.judged != "no evidence here")
