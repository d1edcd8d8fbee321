"""Random schedules, the serial-order check, shrinking, and a campaign that finds a bug planted in the model."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from arbsim.conform import campaign as campaigns
from arbsim.conform.campaign import campaign
from arbsim.conform.cases import RC, RR, SER, Case, Observed, Step, case_of, dump_case
from arbsim.conform.differences import differences
from arbsim.conform.fuzz import (
    CLASSES,
    Compared,
    Serializability,
    class_of,
    compare,
    fuzz,
    serializability,
    smallest,
)
from arbsim.conform.model import NotPlayable, play
from arbsim.conform.schedules import Schedule, schedule
from arbsim.conform.serial import committed, judgeable, serial_order
from arbsim.conform.server import Facts, Server, ServerUnreachable
from arbsim.conform.shrink import levels_of, shrink
from arbsim.worlds.virtual.sql import locks
from tests.conform.support import case

MANY = [schedule(5, number) for number in range(600)]


# -- schedules -----------------------------------------------------------------------------------------


def test_a_schedule_is_a_function_of_its_seed_and_number() -> None:
    assert [schedule(5, number) for number in (0, 77)] == [MANY[0], MANY[77]]
    assert schedule(6, 0) != MANY[0]


def test_schedules_have_two_to_four_sessions_of_at_most_five_statements_on_one_to_three_rows() -> None:
    assert {len(one.case.sessions) for one in MANY} == {2, 3, 4}
    assert {one.case.setup[1].count("(") for one in MANY} == {1, 2, 3}
    control = ("begin", "commit", "rollback", "savepoint", "release")
    for one in MANY:
        spoken = Counter(step.session for step in one.case.steps if not step.sql.startswith(control))
        assert max(spoken.values(), default=0) <= 5


def test_schedules_have_every_class_of_levels_every_statement_and_what_goes_wrong() -> None:
    assert {class_of(one.case) for one in MANY} == set(CLASSES)
    texts = " ".join(step.sql for one in MANY for step in one.case.steps)
    for part in (
        *("for update", "for no key update", "for share", "for key share", "nowait", "skip locked"),
        *("insert", "on conflict", "delete", "returning", "savepoint", "rollback to", "release", "read only"),
    ):
        assert part in texts, part
    errors = {answer.error for one in MANY for answer in one.observed.steps}
    assert errors >= {None, "40001", "40P01", "23505", "23514", "22012", "55P03", "25006", "25P02"}
    assert any(one.observed.raced for one in MANY)


def test_no_session_speaks_while_it_waits_and_every_transaction_gets_to_its_end() -> None:
    for one in MANY:
        assert not any(answer.skipped or answer.unfinished for answer in one.observed.steps)


def test_a_schedule_played_again_as_a_case_answers_the_same() -> None:
    for one in MANY[:100]:
        assert play(one.case) == one.observed


# -- serial orders -------------------------------------------------------------------------------------


def skew(level: str, *extra: str) -> Case:
    return case(
        f"A: begin isolation level {level}",
        f"B: begin isolation level {level}",
        "A: select sum(v) as total from t",
        "B: select sum(v) as total from t",
        "A: update t set v = 0 where id = 1",
        "B: update t set v = 0 where id = 2",
        *extra,
        "A: commit",
        "B: commit",
    )


def test_write_skew_has_no_serial_order_and_serializable_lets_only_one_commit() -> None:
    weak, strong = skew(RR), skew(SER)
    assert serial_order(weak, play(weak)) is None
    observed = play(strong)
    assert [one.session for one in committed(strong, observed)] == ["A"]
    assert serial_order(strong, observed) == ("A",)


def test_the_order_found_is_the_one_that_the_answers_need() -> None:
    read = case(
        f"A: begin isolation level {RR}",
        "A: select v from t where id = 1",
        f"B: begin isolation level {RR}",
        "B: update t set v = v + 1 where id = 1",
        "B: commit",
        "A: commit",
    )
    observed = play(read)
    assert serial_order(read, observed) == ("A", "B")
    assert serial_order(read, replace(observed, final=[[1, 0], [2, 0]])) is None


def test_the_hole_of_on_conflict_do_nothing_is_told_apart() -> None:
    claim = "insert into t values ({}, 0) on conflict do nothing"
    hole = case(
        f"A: begin isolation level {SER}",
        f"B: begin isolation level {SER}",
        "A: " + claim.format(1),
        "B: " + claim.format(2),
        "A: delete from t where id = 2",
        "B: delete from t where id = 1",
        "A: commit",
        "B: commit",
    )
    observed = play(hole)
    assert [one.session for one in committed(hole, observed)] == ["A", "B"]
    assert serial_order(hole, observed) is None
    assert serial_order(hole, observed, through_hole=True) is not None


def test_skip_locked_in_a_committed_transaction_cannot_be_judged() -> None:
    one = skew(RR, "A: select v from t for update skip locked")
    assert not judgeable(committed(one, play(one)))
    assert judgeable(committed(skew(RR), play(skew(RR))))


def test_a_model_that_stops_what_the_server_lets_commit_breaks_a_rule_and_so_does_one_that_stops_nothing() -> (
    None
):
    strong = replace(skew(SER), levels=(SER,))
    model, too_weak = play(strong), play(skew(RR))

    def verdict(model_says: Observed, server_says: Observed) -> str:
        async def server(_: Case) -> Observed:
            return server_says

        compared = asyncio.run(compare(Schedule(0, strong, model_says), server))
        judged = serializability(compared)
        assert judged is not None
        return judged.broken

    assert verdict(model, model) == ""
    assert "the server let all commit" in verdict(model, too_weak)
    assert "no serial order" in verdict(too_weak, model)


def test_what_the_model_commits_under_serializable_is_explained_by_a_serial_order_or_the_hole() -> None:
    compared = [Compared(one, "same", one.observed) for one in MANY]
    judged = [verdict for verdict in map(serializability, compared) if verdict is not None]
    assert [verdict.broken for verdict in judged if verdict.broken] == []
    needed = [verdict for verdict in judged if verdict.needed]
    assert needed  # some would have no serial order at the next weaker level
    assert all(verdict.stopped or verdict.hole for verdict in needed)


# -- comparing -----------------------------------------------------------------------------------------

RACE = case(
    "A: begin",
    "A: update t set v = v + 1 where id = 1",
    "B: update t set v = v * 2 where id = 1",
    "C: update t set v = v - 5 where id = 1",
    "A: commit",
)


@pytest.mark.parametrize(
    ("raced", "right_from", "agreement", "runs"),
    [(True, 1, "same", 1), (True, 15, "varies", 15), (False, 2, "unsteady", 2), (True, 99, "different", 20)],
)
def test_a_schedule_in_which_the_server_varies_is_run_again(
    raced: bool, right_from: int, agreement: str, runs: int
) -> None:
    observed = replace(play(RACE), raced=raced)
    calls = 0

    async def server(_: Case) -> Observed:
        nonlocal calls
        calls += 1
        return observed if calls >= right_from else replace(observed, final=[])

    compared = asyncio.run(compare(Schedule(0, RACE, observed), server))
    assert (compared.agreement, compared.runs) == (agreement, runs)


def test_a_difference_that_begins_with_ssi_is_told_apart() -> None:
    strong = skew(SER)

    async def server(_: Case) -> Observed:
        return play(skew(RR))

    assert asyncio.run(compare(Schedule(0, strong, play(strong)), server)).agreement == "ssi"


@pytest.mark.parametrize("lost", [ServerUnreachable("it went away"), NotPlayable("its set-up fails")])
def test_what_stops_one_lane_stops_all_of_them_and_is_told_as_it_is(lost: Exception) -> None:
    told: list[Compared] = []

    async def good(one: Case) -> Observed:
        await asyncio.sleep(0)
        return play(one)

    async def bad(_: Case) -> Observed:
        raise lost

    with pytest.raises(type(lost)) as caught:
        asyncio.run(fuzz(5, range(100), [good, bad, bad], told.append))
    assert caught.value is lost
    assert len(told) < 100


# -- shrinking -----------------------------------------------------------------------------------------


def test_what_is_shrunk_has_no_needless_session_statement_or_row() -> None:
    big = next(one.case for one in MANY if len(one.case.sessions) == 4 and one.case.setup[1].count("(") == 3)
    needle = [Step("B", "select 'needle' as found"), Step("C", "select 'thread' as found")]
    big = replace(big, steps=[*big.steps[:4], needle[0], *big.steps[4:], needle[1]])

    async def holds(candidate: Case) -> Observed | None:
        return play(candidate) if all(step in candidate.steps for step in needle) else None

    small = asyncio.run(shrink(big, holds))
    assert small is not None
    assert [(step.session, step.sql) for step in small.steps] == [(one.session, one.sql) for one in needle]
    assert small.sessions == ["B", "C"]
    assert small.setup[1].count("(") == 1
    assert differences(small, play(small)) == []
    assert case_of(dump_case(small)) == small


def test_a_case_that_does_not_hold_is_not_shrunk() -> None:
    async def never(_: Case) -> None:
        return None

    assert asyncio.run(shrink(RACE, never)) is None


def test_a_case_in_which_model_and_server_agree_is_not_shrunk() -> None:
    async def server(one: Case) -> Observed:
        return play(one)

    assert asyncio.run(smallest(RACE, server)) is None


def test_the_levels_of_a_case_are_those_that_its_sessions_ask_for() -> None:
    steps = [Step("A", f"begin isolation level {RR} read only"), Step("A", "commit"), Step("B", "select 1")]
    assert levels_of(steps) == (RR, RC)
    assert levels_of(steps[:2]) == (RR,)


# -- campaigns -----------------------------------------------------------------------------------------


def test_a_small_campaign_finds_no_difference(dsn: str) -> None:
    results = asyncio.run(campaign(dsn, 1, 200, lambda one: None))
    assert [found.case for found in results.differences] == []
    assert results.exit_code == 0
    assert sum(row.schedules for row in results.levels) == 200
    assert all(row.schedules for row in results.levels)
    rules = results.serializable
    assert rules.needed - rules.needed_and_stopped <= len(rules.hole)


def test_a_bug_planted_in_the_model_is_found_and_shrunk(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = frozenset({locks.KEY_SHARE, locks.SHARE, locks.NO_KEY_UPDATE, locks.UPDATE})
    monkeypatch.setitem(locks.CONFLICTS, locks.KEY_SHARE, everything)
    results = asyncio.run(campaign(dsn, 3, 60, lambda one: None))
    assert results.exit_code == 1
    assert results.differences
    for found in results.differences:
        small = case_of(found.case)
        assert isinstance(small, Case)
        assert any("for key share" in step.sql for step in small.steps)
        assert len(small.steps) <= 6


def stand_in(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Let the model answer in the place of a server."""

    async def opened(self: Server) -> None:
        self._facts = Facts(version, "-YB-" in version, 8, "told")

    async def played(_: Server, one: Case) -> Observed:
        return play(one)

    monkeypatch.setattr(Server, "open", opened)
    monkeypatch.setattr(Server, "play", played)


def test_a_schedule_that_breaks_a_rule_alone_is_told_whole_with_the_answers_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(compared: Compared) -> Serializability | None:
        verdict = serializability(compared)
        return verdict and replace(verdict, explained=False, hole=False)

    stand_in(monkeypatch, "PostgreSQL 18.6")
    monkeypatch.setattr(campaigns, "serializability", broken)
    results = asyncio.run(campaign("postgresql://nowhere", 5, 10, lambda one: None))
    assert results.exit_code == 1
    assert results.differences
    for found in results.differences:
        assert found.what == "the model committed what no serial order explains; not shrunk"
        whole = case_of(found.case)
        assert isinstance(whole, Case)
        assert len(whole.steps) == len(MANY[found.schedule].case.steps)
        assert differences(whole, MANY[found.schedule].observed) == []
        assert all(step.expect is not None for step in whole.steps)


def test_a_yugabytedb_is_not_compared_with_the_model_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "PostgreSQL 15.12-YB-2.25.1.0-b0 on x86_64")
    with pytest.raises(NotPlayable, match="db:5433/yb is a YugabyteDB"):
        asyncio.run(campaign("postgresql://me:s3cret@db:5433/yb", 5, 10, lambda one: None))
