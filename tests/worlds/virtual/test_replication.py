"""Two databases linked asynchronously: each arbitrates for itself, then the last writer wins."""

from arbsim.audit import audit
from arbsim.designs.active_active import ActiveActive
from arbsim.history import EffectKind
from arbsim.model import FindingKind
from tests.worlds.virtual.worlds import MS, deposit, fates, run, withdraw, workload

RACE = workload(withdraw(0, "east", 7000), withdraw(5, "west", 6000))


def test_both_withdrawals_pass_and_the_later_commit_wins_everywhere() -> None:
    history = run(ActiveActive(), RACE)
    assert fates(history) == ["accepted", "accepted"]
    assert history.finals == {"database@east": {1: 4000}, "database@west": {1: 4000}}


def test_the_earlier_write_is_lost_and_the_audit_says_by_whom() -> None:
    result = audit(run(ActiveActive(), RACE))
    lost = result.findings[FindingKind.LOST_UPDATE]
    assert (lost.count, lost.amount) == (1, "70.00")
    assert lost.first is not None
    assert lost.first.operations == (1, 2)
    assert result.findings[FindingKind.DIVERGENCE].count == 0
    assert result.findings[FindingKind.UNEXPLAINED].count == 0


def test_a_change_takes_the_one_way_trip_and_the_lag() -> None:
    history = run(ActiveActive(), workload(withdraw(0, "east", 7000)))
    here, there = history.effects()
    assert (here.store, there.store) == ("database@east", "database@west")
    assert there.kind is EffectKind.ADOPTED
    assert there.time_ns - here.time_ns == 30 * MS + 100 * MS


def test_writes_far_enough_apart_see_each_other() -> None:
    history = run(ActiveActive(), workload(withdraw(0, "east", 7000), withdraw(1000, "west", 6000)))
    assert fates(history) == ["accepted", "rejected"]
    assert set(history.finals["database@west"].values()) == {3000}


def test_an_older_change_that_arrives_is_dropped() -> None:
    history = run(ActiveActive(), RACE)
    kinds = {(effect.operation, effect.store): effect.kind for effect in history.effects()}
    assert kinds[1, "database@west"] is EffectKind.SUPERSEDED
    assert kinds[2, "database@east"] is EffectKind.ADOPTED


def test_of_two_commits_at_the_same_time_one_wins_everywhere() -> None:
    tie = workload(deposit(0, "east", 100), deposit(0, "west", 200))
    finals = {tuple(balances.items()) for balances in run(ActiveActive(), tie).finals.values()}
    assert len(finals) == 1


def test_of_two_commits_of_one_region_at_the_same_instant_the_later_one_wins_everywhere() -> None:
    twice = workload(withdraw(0, "east", 100), withdraw(0, "east", 100))
    assert run(ActiveActive(), twice).finals == {"database@east": {1: 9800}, "database@west": {1: 9800}}


def test_what_arrives_honours_no_lock() -> None:
    # East's deposit arrives at 130 ms or later, while west holds the row from its UPDATE to its COMMIT.
    overlap = workload(deposit(0, "east", 100), withdraw(130, "west", 6000))
    history = run(ActiveActive(), overlap)
    assert fates(history) == ["accepted", "accepted"]
    assert len({tuple(balances.items()) for balances in history.finals.values()}) == 1
