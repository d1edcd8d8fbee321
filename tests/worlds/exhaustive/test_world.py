"""The exhaustive world: what a design can meet in any order, checked by trying all of them and by chance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import factorial, prod

import pytest

from arbsim.designs import catalogue
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.atomic_update_autocommit import AtomicUpdateAutocommit
from arbsim.designs.select_for_update import SelectForUpdate
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.designs.serializable import Serializable
from arbsim.designs.shared_table import SharedTable
from arbsim.designs.single_writer import SingleWriter
from arbsim.model import Accepted, Fate, Operation, Outcome, Workload
from arbsim.worlds.api import Design, Region
from arbsim.worlds.exhaustive.database import SharedEngine
from arbsim.worlds.exhaustive.kernel import Learned
from arbsim.worlds.exhaustive.steps import Step
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.settings import DatabaseSettings, Settings
from arbsim.worlds.virtual.sql.engine import Engine
from tests.worlds.exhaustive.support import (
    DIALECTS,
    POSTGRES,
    TWO_IN_EAST,
    TWO_WITHDRAWALS,
    YUGABYTE,
    DetailedWorld,
    Driven,
    Driver,
    GivesUp,
    Impatient,
    LastWriterWinsInSql,
    Probe,
    Seen,
    SharesADictInItsService,
    SharesAListInARegion,
    TwoRowsAndASnapshot,
    WriteSkew,
    fates,
    outcomes,
    runs,
    search,
    seen,
    workload,
)

MIXED = workload("east withdraw 70 1", "west deposit 20 1")
TRANSFERS = workload("east transfer 70 1 2", "west transfer 60 2 1", a1=100, a2=100)
WITH_A_READ = workload("east withdraw 70 1", "west read 0 1")
THREE = workload("east withdraw 70 1", "west withdraw 60 1", "east withdraw 20 1")


# -- the reduced search against every order ------------------------------------------------------------


def small_cases() -> Iterator[tuple[str, Design, Workload, Settings]]:
    for dialect, settings in DIALECTS.items():
        yield f"atomic {dialect}", AtomicUpdate(), TWO_WITHDRAWALS, settings
        yield f"autocommit {dialect}", AtomicUpdateAutocommit(), TWO_WITHDRAWALS, settings
        yield f"autocommit mixed {dialect}", AtomicUpdateAutocommit(), MIXED, settings
        yield f"autocommit read {dialect}", AtomicUpdateAutocommit(), WITH_A_READ, settings
        yield f"for update {dialect}", SelectForUpdate(), TWO_WITHDRAWALS, settings
        yield f"serializable {dialect}", Serializable(), TWO_WITHDRAWALS, settings
    yield "autocommit, three", AtomicUpdateAutocommit(), THREE, POSTGRES
    yield "atomic, three in a queue", AtomicUpdate(), THREE, YUGABYTE
    yield "atomic, deadlocks", AtomicUpdate(), TRANSFERS, YUGABYTE
    yield (
        "two rows",
        TwoRowsAndASnapshot(),
        workload("east deposit 1 1", "west read 0 1", a1=0, a2=0),
        POSTGRES,
    )
    yield (
        "write skew",
        WriteSkew("serializable"),
        workload("east withdraw 9 1", "west withdraw 9 2", a1=5, a2=5),
        POSTGRES,
    )
    yield "single writer", SingleWriter(), workload("east withdraw 70 1"), POSTGRES
    yield "shared table", SharedTable(), workload("east withdraw 70 1"), YUGABYTE
    yield "clock", Impatient(), workload("east read 0 1", "west read 0 1"), POSTGRES
    yield "timeout", GivesUp(), workload("east withdraw 1 1", "west withdraw 1 1"), POSTGRES


CASES = list(small_cases())


@pytest.mark.parametrize(
    ("design", "work", "settings"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_reduced_and_plain_reach_the_same_outcomes_by_the_same_number_of_orders(
    design: Design, work: Workload, settings: Settings
) -> None:
    assert search(design, work, settings, reduced=True) == search(design, work, settings, reduced=False)


def test_the_classes_do_not_depend_on_the_order_in_which_choices_are_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many steps here touch less where another one came first: a search that takes no notice misses some of them."""
    design = catalogue()["bus/regional-snapshots"]()
    three = workload("east withdraw 70 1", "west withdraw 60 1", "east withdraw 20 1")

    def classes() -> Counter[Seen]:
        return Counter(seen(run.result) for run in runs(design, three, YUGABYTE, Learned()) if run.result)

    offered = classes()
    monkeypatch.setattr(ChoiceWorld, "choices", lambda self: list(reversed(self._kernel.ready)))
    assert offered == classes()


def test_a_transaction_begins_at_a_step_where_who_began_first_decides() -> None:
    yugabyte, postgres = (search(AtomicUpdate(), THREE, one, reduced=True) for one in (YUGABYTE, POSTGRES))
    assert yugabyte.keys() == postgres.keys()
    assert yugabyte.total() > postgres.total()


def test_whoever_comes_to_the_locks_may_ask_who_began_first() -> None:
    engines: list[SharedEngine] = []

    class Kept(ChoiceWorld):
        def _build_engine(self, database: DatabaseSettings) -> Engine:
            engine = super()._build_engine(database)
            assert isinstance(engine, SharedEngine)
            engines.append(engine)
            return engine

    learned = Learned()
    driver, rng = Driver(SelectForUpdate(), THREE, YUGABYTE, Kept, learned), random.Random(2)
    asking = 0
    for _ in range(20):
        steps = driver.random(rng).steps
        asked, locks = learned.names.numbers["asked"], engines[-1].locks
        asking += any(step.compared for step in steps)
        assert [asked in step.writes for step in steps] == [locks in step.writes for step in steps]
    assert asking > 5


class Sleeps(Probe):
    """As many steps of its own as the amount says, after the one at which the client begins."""

    name = "probe/sleeps"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        for _ in range(int(op.amount)):
            await region.sleep(1)
        return Accepted()


@pytest.mark.parametrize("sleeps", [(1, 1), (2, 3), (1, 2, 1)])
def test_independent_scripts_have_as_many_orders_as_the_multinomial_coefficient(
    sleeps: tuple[int, ...],
) -> None:
    """Clients that share nothing, each of them a straight line: mathematics knows how many orders there are."""
    work = workload(*(f"east withdraw {count} 1" for count in sleeps))
    steps = [1 + count for count in sleeps]
    expected = factorial(sum(steps)) // prod(map(factorial, steps))
    for reduced in (False, True):
        orders = search(Sleeps(), work, POSTGRES, reduced, nothing_at_once=True)
        assert list(orders.values()) == [expected]


SHARING = [
    ("clients share", SharesAListInARegion(), TWO_IN_EAST, POSTGRES),
    ("service shares", SharesADictInItsService(), TWO_WITHDRAWALS, POSTGRES),
]
"""Designs whose tasks share Python objects, and do not say that they do not."""

AT_ONCE = [
    *SHARING,
    *((name, design, work, settings) for name, design, work, settings in CASES),
    *(
        (name, catalogue()[name](), TWO_WITHDRAWALS, YUGABYTE)
        for name in ("bus/regional-deltas", "bus/shared-table", "bus/log-fold", "db/active-active")
    ),
]


@pytest.mark.parametrize(
    ("design", "work", "settings"), [case[1:] for case in AT_ONCE], ids=[case[0] for case in AT_ONCE]
)
def test_steps_that_are_taken_at_once_lose_no_outcome(
    design: Design, work: Workload, settings: Settings
) -> None:
    every_step = outcomes(design, work, settings, Learned(nothing_at_once=True))
    assert outcomes(design, work, settings) == every_step


# -- restarts inside YugabyteDB ------------------------------------------------------------------------


@pytest.mark.parametrize("work", [TWO_WITHDRAWALS, MIXED, WITH_A_READ], ids=["withdrawals", "mixed", "read"])
def test_a_run_that_is_given_up_at_a_deadlock_has_the_outcome_of_another_one(work: Workload) -> None:
    learned = Learned()
    found = outcomes(Serializable(), work, YUGABYTE, learned)
    assert found == outcomes(Serializable(), work, YUGABYTE, Learned(waits_with_more=True))
    assert not learned.waits_with_more


@pytest.mark.parametrize(
    ("design", "work"),
    [
        (Serializable(), TRANSFERS),
        (Serializable(select_first=True), TWO_WITHDRAWALS),
        (AtomicUpdate(), TRANSFERS),
    ],
    ids=["transfers", "SELECT first", "READ COMMITTED"],
)
def test_where_a_deadlock_may_be_an_outcome_no_run_is_given_up(design: Design, work: Workload) -> None:
    learned = Learned()
    driver, rng = Driver(design, work, YUGABYTE, learned=learned), random.Random(1)
    for _ in range(20):
        driver.random(rng)
    assert learned.waits_with_more


def test_three_that_are_given_up_at_a_deadlock_lead_nowhere_else() -> None:
    """With three there is no end of the orders in which the server starts statements again: here are some by chance."""
    work = workload("east withdraw 70 1", "west withdraw 60 1", "east deposit 20 1")
    found = outcomes(Serializable(), work, YUGABYTE)
    driver = Driver(Serializable(), work, YUGABYTE, learned=Learned(waits_with_more=True))
    rng = random.Random(3)
    by_chance = [driver.random(rng).history for _ in range(40)]
    assert sum(any(answer.server_retries for answer in history.answers()) for history in by_chance) > 10
    assert {seen(history) for history in by_chance} <= found


# -- steps that are called independent, exchanged ------------------------------------------------------


def commuting_cases() -> Iterator[tuple[str, Design, Workload, Settings]]:
    for dialect, settings in DIALECTS.items():
        for name, design in catalogue().items():
            if name == "sql":
                continue
            yield f"{name} {dialect}", design(), TWO_WITHDRAWALS, settings
            yield f"{name} transfers {dialect}", design(), TRANSFERS, settings
    yield (
        "write skew",
        WriteSkew("serializable"),
        workload("east withdraw 9 1", "west withdraw 9 2", a1=5, a2=5),
        POSTGRES,
    )
    for name in ("atomic-update", "select-for-update", "select-then-update"):
        yield f"{name} three yugabyte", catalogue()[f"db/{name}"](), THREE, YUGABYTE
    yield "sql clock", LastWriterWinsInSql(), TWO_WITHDRAWALS, POSTGRES
    yield "timeout", GivesUp(), TWO_WITHDRAWALS, POSTGRES
    few = replace(POSTGRES, database=replace(POSTGRES.database, pool_size=1))
    yield "one connection", AtomicUpdate(), workload("east withdraw 70 1", "east withdraw 60 1"), few


COMMUTING = [*commuting_cases(), *SHARING]


@pytest.mark.parametrize(
    ("design", "work", "settings"), [case[1:] for case in COMMUTING], ids=[case[0] for case in COMMUTING]
)
def test_independent_steps_can_change_places_and_nothing_else_changes(
    design: Design, work: Workload, settings: Settings
) -> None:
    """Whoever forgets a shared object fails here: two steps that ought to meet are called independent."""
    driver = Driver(design, work, settings)
    rng = random.Random(design.name)
    left = 4
    while left:
        begun = driver.begun
        run = driver.random(rng)
        assert run.ended
        learned = driver.begun > begun or not all(
            driver_agrees(driver, run, place) for place in some(rng, free_places(run.steps))
        )
        left -= not learned
        assert driver.begun < 100


def free_places(steps: list[Step]) -> list[int]:
    """Where a step and the next one are independent, and none goes by which of them came first."""
    compared = {pair for step in steps for pair in step.compared}
    return [
        place
        for place, (one, other) in enumerate(pairwise(steps))
        if not one.meets(other) and place not in other.after and (place, place + 1) not in compared
    ]


def some(rng: random.Random, places: list[int]) -> list[int]:
    return rng.sample(places, min(8, len(places)))


def driver_agrees(driver: Driver, run: Driven, place: int) -> bool:
    """Exchange the step at a place with the next one, and compare. False where more was learned meanwhile."""
    begun = driver.begun
    names = [step.name for step in run.steps]
    names[place], names[place + 1] = names[place + 1], names[place]
    again = driver.follow(names)
    if driver.begun > begun:
        return False
    assert again.ended, "the exchanged steps do not lead to the same end"
    assert touched(again.steps) == touched(run.steps)
    assert seen(again.history) == seen(run.history)
    return True


def touched(steps: list[Step]) -> dict[int, object]:
    """What each step touches, and whose order it goes by."""
    return {
        step.name: (
            step.reads,
            step.writes,
            [(steps[first].name, steps[second].name) for first, second in step.compared],
        )
        for step in steps
    }


BUS = (
    "regional-deltas",
    "regional-snapshots",
    "shared-table",
    "shared-table-atomic",
    "single-writer",
    "log-fold",
)
BY_CHANCE = [*(catalogue()[f"bus/{name}"]() for name in BUS), SharesADictInItsService()]


@pytest.mark.parametrize("design", BY_CHANCE, ids=[design.name for design in BY_CHANCE])
@pytest.mark.parametrize("work", [TWO_WITHDRAWALS, TWO_IN_EAST, MIXED], ids=["apart", "together", "mixed"])
def test_no_order_by_chance_leads_where_the_reduced_search_has_not_been(
    design: Design, work: Workload
) -> None:
    """Neither of the search's own steps, nor of those of every message that it makes one step of."""
    reached = outcomes(design, work, YUGABYTE)
    rng = random.Random(7)
    for world in (ChoiceWorld, DetailedWorld):
        driver = Driver(design, work, YUGABYTE, world)
        assert {seen(driver.random(rng).history) for _ in range(20)} <= reached


# -- traps ---------------------------------------------------------------------------------------------


def test_two_writers_on_two_rows_and_a_snapshot_reader_have_four_outcomes() -> None:
    work = workload("east deposit 1 1", "west deposit 2 2", "east read 0 1", a1=0, a2=0)
    told = {outcome[3] for outcome in outcomes(TwoRowsAndASnapshot(), work, POSTGRES)}
    assert told == {(Fate.ACCEPTED, cents) for cents in (0, 100_000, 200, 100_200)}


def test_write_skew_is_found_under_repeatable_read_and_not_under_serializable() -> None:
    work = workload("east withdraw 9 1", "west withdraw 9 2", a1=5, a2=5)

    def both(design: Design) -> bool:
        return any(set(fates(outcome)) == {Fate.ACCEPTED} for outcome in outcomes(design, work, POSTGRES))

    assert both(WriteSkew("repeatable_read"))
    assert not both(WriteSkew("serializable"))


def test_a_clock_in_sql_that_decides_is_an_object() -> None:
    """The later beginner may write first; then the earlier one is refused."""
    found = outcomes(LastWriterWinsInSql(), TWO_WITHDRAWALS, POSTGRES)
    assert {fates(outcome) for outcome in found} == {
        (Fate.ACCEPTED, Fate.ACCEPTED),
        (Fate.REJECTED, Fate.ACCEPTED),
        (Fate.ACCEPTED, Fate.REJECTED),
    }


def test_last_writer_wins_by_a_clock_ends_either_way() -> None:
    for name in ("bus/regional-snapshots", "db/active-active"):
        finals = {outcome[0] for outcome in outcomes(catalogue()[name](), TWO_WITHDRAWALS, YUGABYTE)}
        assert len(finals) == 2


def test_a_clock_can_jump_between_two_readings() -> None:
    found = outcomes(Impatient(), workload("east read 0 1", "west read 0 1"), POSTGRES)
    both = {Fate.ACCEPTED, Fate.REJECTED}
    assert {fates(outcome) for outcome in found} == {(one, other) for one in both for other in both}


def test_a_timeout_can_come_before_and_after_the_change() -> None:
    found = outcomes(GivesUp(), workload("east withdraw 1 1"), POSTGRES)
    assert {(outcome[0], *fates(outcome)) for outcome in found} == {
        ("[('database', [(1, 9900)])]", Fate.ACCEPTED),
        ("[('database', [(1, 9900)])]", Fate.UNKNOWN),
        ("[('database', [(1, 10000)])]", Fate.UNKNOWN),
    }


def test_a_lost_update_is_found_and_its_cure_has_none() -> None:
    def accepted(design: Design) -> set[int]:
        return {
            fates(outcome).count(Fate.ACCEPTED) for outcome in outcomes(design, TWO_WITHDRAWALS, POSTGRES)
        }

    assert accepted(SelectThenUpdate()) == {1, 2}
    assert accepted(SelectForUpdate()) == {1}


def test_a_pool_with_one_connection_is_an_object() -> None:
    few = replace(POSTGRES, database=replace(POSTGRES.database, pool_size=1))
    work = workload("east withdraw 70 1", "east withdraw 60 1")
    assert search(AtomicUpdate(), work, few, reduced=True) == search(AtomicUpdate(), work, few, reduced=False)
    both_begun = search(AtomicUpdate(), work, POSTGRES, reduced=True)
    one_waits = search(AtomicUpdate(), work, few, reduced=True)
    assert set(one_waits) == set(both_begun)
    assert one_waits.total() != both_begun.total()


def test_deadlocks_end_by_either_victim() -> None:
    """Two transfers lock two rows in opposite order; whoever is the victim tries again, so both end."""
    found = outcomes(AtomicUpdate(), TRANSFERS, POSTGRES)
    assert {fates(outcome) for outcome in found} == {(Fate.ACCEPTED, Fate.ACCEPTED)}
