"""Random transactions in SQL, of two clients: the reduced search against every order."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arbsim.runner import designs_of, settings_of
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.workload import build_workload
from arbsim.worlds.exhaustive.kernel import Learned
from tests.worlds.exhaustive.support import Driver, search, seen

ORDERS = 200
"""So many orders are tried one by one; a case with more is left out."""

DRIVEN = 20
"""So many runs by chance, in which every step is a choice and none is given up, must lead nowhere else."""

SCENARIO = """\
name: by chance
regions: {{east: {{location: us-east-1}}, west: {{location: us-west-2}}}}
database: {{dialect: {dialect}, leader: east}}
accounts: {{1: 100.00, 2: 50.00}}
workload:
  operations:
    - {first}
    - {second}
designs:
  - name: ours
    sql:
      isolation: {isolation}
      retry: {{on: [40001, 40P01], attempts: {attempts}, backoff: 2 ms}}
      rejected_on: [23514]
      tables: ["CREATE TABLE done (op_id BIGINT PRIMARY KEY, region TEXT NOT NULL)"]
      withdraw: {withdraw}
      deposit: {deposit}
      transfer: {transfer}
"""

READS = (
    "SELECT balance FROM acct WHERE id = {account}",
    "SELECT balance FROM acct WHERE id = {account} FOR UPDATE",
    "SELECT balance FROM acct WHERE id = {account} FOR NO KEY UPDATE NOWAIT",
    "SELECT balance FROM acct WHERE id = {account} FOR SHARE",
    "SELECT balance FROM acct WHERE id = {account} FOR KEY SHARE SKIP LOCKED",
    "SELECT sum(balance) AS balance FROM acct",
    "SELECT balance FROM acct ORDER BY id DESC LIMIT 1",
)
WRITES = (
    "UPDATE acct SET balance = balance - :amount WHERE id = {account}",
    "UPDATE acct SET balance = balance - :amount WHERE id = {account} AND balance >= :amount RETURNING balance",
    "UPDATE acct SET balance = balance + :amount WHERE id = {account}",
    "UPDATE acct SET balance = 77 WHERE id = {account}",
    "UPDATE acct SET balance = balance + 1 WHERE balance > 40",
    "UPDATE acct SET balance = balance * 0.5 WHERE id IN (1, 2)",
    "DELETE FROM acct WHERE id = 2 AND balance < 60",
    "INSERT INTO acct (id, balance) VALUES (2, 10) ON CONFLICT DO NOTHING",
    "INSERT INTO acct (id, balance) VALUES (3, 10)",
    "INSERT INTO done (op_id, region) VALUES (1, :region)",
    "INSERT INTO done (op_id, region) VALUES (1, :region) ON CONFLICT DO NOTHING",
    "DELETE FROM done WHERE op_id = 1",
)
OPERATIONS = (
    "read: true, account: 1",
    "withdraw: 60.00, account: 1",
    "deposit: 10.00, account: 1",
    "transfer: 30.00, account: 1, to_account: 2",
    "transfer: 30.00, account: 2, to_account: 1",
)


@st.composite
def steps(draw: st.DrawFn) -> str:
    """One or two statements, some with a condition after them, as YAML in one line."""
    found = []
    for kind in draw(st.sampled_from(("rw", "w", "wr", "ww", "r"))):
        statement = draw(st.sampled_from(READS if kind == "r" else WRITES))
        account = draw(st.sampled_from((":account", "1", "2")))
        found.append(f'{{statement: "{statement.format(account=account)}"}}')
        if draw(st.booleans()):
            condition = 'reject unless: "balance >= 60' if kind == "r" else 'accept if: "rowcount = 0'
            found.append(f'{{{condition}"}}')
    return f"[{', '.join(found)}]"


@st.composite
def scenarios(draw: st.DrawFn) -> str:
    """Two operations, each of its own region or both of one."""
    first, second = (
        f"{{at: {place} ms, region: {draw(st.sampled_from(('east', 'west')))}, {draw(st.sampled_from(OPERATIONS))}}}"
        for place in range(2)
    )
    return SCENARIO.format(
        dialect=draw(st.sampled_from(("postgres", "yugabyte"))),
        isolation=draw(st.sampled_from(("read_committed", "repeatable_read", "serializable"))),
        attempts=draw(st.integers(1, 2)),
        first=first,
        second=second,
        withdraw=draw(steps()),
        deposit=draw(steps()),
        transfer=draw(steps()),
    )


@settings(max_examples=120)
@given(scenarios())
def test_the_reduced_search_reaches_what_every_order_reaches_by_as_many_orders(text: str) -> None:
    scenario = parse_scenario(Source("by chance", text), folder=Path())
    design = designs_of(scenario)["ours"]
    work, told = build_workload(scenario, 1), settings_of(scenario, 1)
    reduced = search(design, work, told, reduced=True)
    assume(reduced.total() <= ORDERS)
    assert search(design, work, told, reduced=False) == reduced
    driver = Driver(design, work, told, learned=Learned(nothing_at_once=True, waits_with_more=True))
    rng = random.Random(1)
    assert {seen(driver.random(rng).history) for _ in range(DRIVEN)} <= reduced.keys()
