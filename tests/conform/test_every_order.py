"""What `arbsim explore` says can happen is what happens on a real PostgreSQL, in every order of the statements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest

from arbsim.conform.cases import Case, Final, Step
from arbsim.conform.orders import outcomes
from arbsim.conform.server import Server as ConformServer
from arbsim.designs import catalogue
from arbsim.explore.search import Outcome, explore_design
from arbsim.model import Fate, Verdict, Workload
from arbsim.runner import card_of
from arbsim.scenario.models import ACCT_TABLE
from arbsim.worlds.exhaustive.search import Search
from tests.conform.real_orders import End, RealRun, Server
from tests.worlds.exhaustive.support import POSTGRES, TWO_WITHDRAWALS, workload

MIXED = workload("east withdraw 70 1", "west deposit 20 1")
AGAINST = workload("east transfer 70 1 2", "west transfer 60 2 1", a1=100, a2=100)

CASES = [
    ("db/atomic-update", TWO_WITHDRAWALS, 2),
    ("db/atomic-update", MIXED, 2),
    ("db/atomic-update", AGAINST, 2),
    ("db/atomic-update-autocommit", TWO_WITHDRAWALS, 2),
    ("db/select-for-update", TWO_WITHDRAWALS, 2),
    ("db/select-then-update", TWO_WITHDRAWALS, 4),
    ("db/select-then-update", MIXED, 3),
    ("db/select-then-decrement", TWO_WITHDRAWALS, 4),
    ("db/serializable", TWO_WITHDRAWALS, 2),
    ("db/serializable", AGAINST, 2),
]
"""With how many outcomes each has: a comparison of nothing with nothing would hold, too."""


@pytest.fixture(name="server", scope="module")
def _server(dsn: str) -> Iterator[Server]:
    server = Server(dsn, len(TWO_WITHDRAWALS))
    yield server
    server.close()


def modelled(name: str, work: Workload) -> set[End]:
    """What the exhaustive world finds, and calls complete."""
    design = catalogue()[name]()
    found = explore_design(design, card_of(name, design), work, POSTGRES)
    assert found.stopped is None
    return {_end(outcome) for outcome in found.outcomes}


def _end(outcome: Outcome) -> End:
    ((_, balances),) = outcome.finals
    fates = tuple(fate for fate in outcome.fates if fate is not None)
    assert len(fates) == len(outcome.fates)
    return balances, fates, outcome.told


@pytest.mark.parametrize(("name", "work", "count"), CASES)
def test_a_design_has_the_outcomes_that_it_has_on_a_real_server(
    name: str, work: Workload, count: int, server: Server
) -> None:
    """The same design's code on both; on the server every order of its statements is made."""
    design = catalogue()[name]()
    search = Search(lambda: RealRun(server, design, work), reduced=False)
    real = {run.result for run in search.runs() if run is not None}
    assert real == modelled(name, work)
    assert len(real) == count


def test_a_design_has_the_outcomes_that_conform_finds_for_its_statements(dsn: str) -> None:
    """One design asks the same whatever it is answered, so its statements are a case for --all-orders."""
    first, second = (
        [
            Step(session, "BEGIN ISOLATION LEVEL READ COMMITTED"),
            Step(
                session,
                f"UPDATE acct SET balance = balance - {op.amount}, updated_at = now()"
                f" WHERE id = 1 AND balance >= {op.amount} RETURNING balance",
            ),
            Step(session, "COMMIT"),
        ]
        for session, op in zip("AB", TWO_WITHDRAWALS, strict=True)
    )
    case = Case(
        "atomic update",
        [ACCT_TABLE, "INSERT INTO acct (id, balance) VALUES (1, 100)"],
        ["A", "B"],
        [*first, *second],
        final=Final("SELECT id, balance FROM acct"),
    )

    async def on_server() -> set[End]:
        async with ConformServer(dsn) as server:
            found, impossible = await outcomes(case, server.play)
        assert impossible > 0
        return {_end_of_case(one.answers, one.final) for one in found}

    assert asyncio.run(on_server()) == modelled("db/atomic-update", TWO_WITHDRAWALS)


def _end_of_case(answers: dict[str, tuple[str, ...]], final: list[list[object]] | None) -> End:
    assert final is not None
    balances = tuple((int(str(account)), _cents(balance)) for account, balance in final)
    told = [answers[session][1].partition("UPDATE 1: ")[2].strip('["]') for session in "AB"]
    return (
        balances,
        tuple(Fate.ACCEPTED if one else Fate.REJECTED for one in told),
        tuple(_cents(one) if one else None for one in told),
    )


def _cents(balance: object) -> int:
    return int(Decimal(str(balance)) * 100)


def test_the_trap_that_the_model_shows_is_real() -> None:
    """The comparison above is of four outcomes; two of them lose an update."""
    design = catalogue()["db/select-then-update"]()
    found = explore_design(design, card_of(design.name, design), TWO_WITHDRAWALS, POSTGRES)
    assert found.verdict is Verdict.VIOLATED
    assert sum(bool(outcome.broken) for outcome in found.outcomes) == 2
