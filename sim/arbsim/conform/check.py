"""Running the cases of a file on one executor, each by itself: one that fails leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol

from .cases import BadCase, Case, Observed
from .differences import differences
from .model import NotPlayable, problems_of
from .model import play as play_on_model
from .orders import TooManySteps, outcomes
from .results import CaseResult, ConformResults, DifferenceRow, OutcomeRow, Target, exit_code
from .server import Server, ServerUnreachable

Told = Callable[[CaseResult], None]


class Executor(Protocol):
    """Where cases run."""

    @property
    def target(self) -> Target:
        """What it is."""

    def refusal(self, case: Case) -> str:
        """Why it cannot run the case at all; empty where it can."""

    async def play(self, case: Case) -> Observed:
        """Play a case. Raises NotPlayable, or ServerUnreachable."""


class ModelExecutor:
    """The virtual database, in the dialect that the case names."""

    target = Target(
        kind="model",
        version="the virtual database",
        blocked="told by the model: nothing waits for a clock",
    )

    def refusal(self, case: Case) -> str:
        """What of the case's SQL is outside the subset."""
        return "; ".join(problems_of(case))

    async def play(self, case: Case) -> Observed:
        """Play a case on a fresh engine."""
        return play_on_model(case)


class ServerExecutor:
    """A real server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        facts = server.facts
        self.target = Target(kind="server", version=facts.version, blocked=facts.blocked)

    def refusal(self, case: Case) -> str:
        """A case that was recorded on the other kind of server says nothing about this one."""
        kind = "yugabyte" if self.server.facts.yugabyte else "postgres"
        if case.dialect is None or case.dialect == kind:
            return ""
        return f"its answers are those of {case.dialect}, and this is {kind}"

    async def play(self, case: Case) -> Observed:
        """Play a case on the server."""
        return await self.server.play(case)


async def check_cases(
    cases: Sequence[Case | BadCase], executor: Executor, *, all_orders: bool = False, told: Told | None = None
) -> ConformResults:
    """Run every case and compare; with `all_orders` list each case's distinct outcomes instead."""
    results: list[CaseResult] = []
    for case in cases:
        result = await _check(case, executor, all_orders)
        results.append(result)
        if told is not None:
            told(result)
    done = tuple(results)
    return ConformResults(target=executor.target, cases=done, exit_code=exit_code(done))


async def _check(case: Case | BadCase, executor: Executor, all_orders: bool) -> CaseResult:
    if isinstance(case, BadCase):
        return CaseResult(id=case.id, group=case.id, status="bad-case", reason="; ".join(case.mistakes))
    base = CaseResult(
        id=case.id, title=case.title, group=case.group or case.id, levels=case.levels, status="as-expected"
    )
    refusal = executor.refusal(case)
    if refusal:
        return base.model_copy(update={"status": "not-supported", "reason": refusal})
    try:
        if all_orders:
            return await _all_orders(base, case, executor)
        return _compared(base, case, await executor.play(case))
    except (NotPlayable, TooManySteps) as error:
        return base.model_copy(update={"status": "bad-case", "reason": str(error)})
    except ServerUnreachable as error:
        return base.model_copy(update={"status": "unreachable", "reason": str(error)})


def _compared(base: CaseResult, case: Case, observed: Observed) -> CaseResult:
    if all(step.expect is None for step in case.steps) and (case.final is None or case.final.rows is None):
        reason = "no step says what it expects"
        return base.model_copy(update={"status": "nothing-expected", "reason": reason})
    rows = tuple(DifferenceRow(**asdict(one)) for one in differences(case, observed))
    return base.model_copy(update={"status": "different" if rows else "as-expected", "differences": rows})


async def _all_orders(base: CaseResult, case: Case, executor: Executor) -> CaseResult:
    found, impossible = await outcomes(case, executor.play)
    rows = tuple(
        OutcomeRow(count=one.count, order=one.order, answers=one.answers, final=one.final) for one in found
    )
    return base.model_copy(update={"status": "outcomes", "outcomes": rows, "impossible_orders": impossible})
