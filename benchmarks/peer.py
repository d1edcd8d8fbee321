"""A peer: the same two-region workload, written for salabim, another maintained library for simulation in Python.

Withdrawals and deposits from two regions on shared accounts, with the delays of db/atomic-update under YugabyteDB's
dialect: the way to the leader, the row's lock, a quorum for the intents and one for the commit, and the way back.
salabim gets the bare process, as its users would write it: no SQL, no versions, no history, no audit; a statement that
waited for a row does not start again inside the server. Delays are constant, so both decide alike but for the few
operations that waited; that is checked.
"""

from __future__ import annotations

import time
from typing import Any

from arbsim.model import Fate, Kind, Workload
from arbsim.runner import card_of, designs_of, settings_of
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.workload import build_workload
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design
from benchmarks.measures import ROOT

LEADER = "east"
SCENARIO = """\
name: two regions for a peer
seed: 7
regions: {{east: {{location: us-east-1}}, west: {{location: us-west-2}}}}
network: {{round_trips: aws-2025, jitter: 0 %}}
database: {{dialect: yugabyte, leader: east}}
accounts: {{count: 200, balance: 60.00}}
workload:
  generate:
    operations: {operations}
    arrivals: {{process: poisson, rate: 40/s}}
    amounts: {{from: 5.00, to: 40.00}}
    mix: {{withdraw: 60 %, deposit: 40 %}}
designs: [db/atomic-update]
"""


def peer(operations: int) -> dict[str, Any]:
    """Operations per CPU second of both, and ours over the peer's."""
    text = SCENARIO.format(operations=operations)
    scenario = parse_scenario(Source("peer", text), folder=ROOT)
    workload, settings = build_workload(scenario), settings_of(scenario, scenario.seed)
    (design,) = designs_of(scenario).values()
    begun = time.process_time()
    history = run_design(design, card_of(design.name, design), workload, settings)
    ours_s = time.process_time() - begun
    begun = time.process_time()
    accepted = in_salabim(workload, settings)
    theirs_s = time.process_time() - begun
    alike = sum((history.fate(op.id) is Fate.ACCEPTED) == (op.id in accepted) for op in workload)
    assert alike >= 0.98 * operations, "the two models do not do the same"
    return {
        "operations_per_cpu_s": round(operations / ours_s),
        "salabim_operations_per_cpu_s": round(operations / theirs_s),
        "times_salabim": round(theirs_s / ours_s, 2),
        "fates_alike": f"{alike} of {operations}",
    }


def in_salabim(workload: Workload, settings: Settings) -> set[int]:
    """Run the workload as salabim's users would write it; return the operations that were accepted."""
    import salabim

    # Processes as generators: salabim's faster way where greenlets are not needed.
    salabim.yieldless(False)
    environment = salabim.Environment(trace=False, time_unit="milliseconds", random_seed=7)
    balances = dict(workload.accounts)
    accepted: set[int] = set()
    rows = {account: salabim.Resource(f"row {account}", monitor=False) for account in balances}
    trips = {pair: trip / 1_000_000 for pair, trip in settings.round_trip_ns.items()}
    quorum_ms = min(trip for (source, target), trip in trips.items() if source == LEADER != target)
    statement_ms = settings.database.statement_ns / 1_000_000

    class Client(salabim.Component):  # type: ignore[misc]
        """One operation, from its client to the leader and back."""

        def setup(self, operation: Any) -> None:
            self.operation = operation

        def process(self) -> Any:
            operation = self.operation
            region, account = operation.region, operation.account
            local_ms = trips[region, region]
            there_ms = (local_ms + trips[region, LEADER]) / 2
            back_ms = (local_ms + trips[LEADER, region]) / 2
            yield self.hold(local_ms)  # BEGIN, at the gateway
            yield self.hold(there_ms + statement_ms)
            row = rows[account]
            yield self.request(row)
            after = balances[account] + operation.delta(account)
            if operation.kind is Kind.DEPOSIT or after >= 0:
                # The write call and the quorum of its intents, then COMMIT and its quorum.
                yield self.hold(quorum_ms + trips[region, LEADER] + back_ms)
                yield self.hold(there_ms + quorum_ms)
                balances[account] = after
                accepted.add(operation.id)
                self.release(row)
                yield self.hold(back_ms)
            else:
                self.release(row)
                yield self.hold(back_ms)
                yield self.hold(local_ms)

    class Arrivals(salabim.Component):  # type: ignore[misc]
        """Lets each client begin at its time."""

        def process(self) -> Any:
            for operation in workload:
                yield self.hold(till=operation.at_ns / 1_000_000)
                Client(operation=operation)

    Arrivals()
    environment.run()
    return accepted
