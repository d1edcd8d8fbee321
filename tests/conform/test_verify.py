"""`arbsim verify-db`: what a server gives for each level, claimed beside observed."""

import asyncio
import json
from dataclasses import replace

import pytest

from arbsim.conform.cases import LEVELS, Case, Observed
from arbsim.conform.model import play
from arbsim.conform.probes import PROBES
from arbsim.conform.results import Target
from arbsim.conform.verify import VerifyResults, level_of, render, verify
from arbsim.worlds.virtual.sql import Engine
from tests.conform.support import arbsim, ask, schemas_left

TARGET = Target(kind="model", version="a test", blocked="told")


def on(engine: Engine | None = None, as_level: str | None = None, yugabyte: bool = False) -> VerifyResults:
    """Verify the model; with `as_level` every transaction silently runs at that level."""

    async def ask_model(one: Case) -> Observed:
        steps = one.steps
        if as_level is not None:
            steps = [
                replace(step, sql=f"begin isolation level {as_level}") if "begin" in step.sql else step
                for step in steps
            ]
        made = (lambda: Engine("yugabyte", read_committed=engine.read_committed)) if engine else None
        return play(replace(one, steps=steps), made)

    return asyncio.run(verify(TARGET, yugabyte, ask_model))


def gives(results: VerifyResults) -> list[str]:
    return [level.gives for level in results.levels]


HONEST = ["read committed", "snapshot isolation", "serializable, as far as these anomalies show"]


def test_postgresql_gives_what_each_level_claims(dsn: str) -> None:
    ask(dsn, "create table if not exists public.test as select 7 as value")
    done = arbsim("verify-db", "--dsn", dsn, "--json")
    assert done.returncode == 0, done.stderr
    results = VerifyResults.model_validate(json.loads(done.stdout))
    assert gives(results) == HONEST
    assert [level.reported for level in results.levels] == list(LEVELS)
    assert [level.warnings for level in results.levels] == [(), (), ()]
    assert gives(on()) == HONEST
    on_model = [[(cell.anomaly, cell.how) for cell in level.cells] for level in on().levels]
    assert [[(cell.anomaly, cell.how) for cell in level.cells] for level in results.levels] == on_model
    assert schemas_left(dsn) == 0
    assert ask(dsn, "select value from public.test") == 7


def test_yugabytedb_gives_what_each_level_claims_with_its_flag() -> None:
    assert gives(on(Engine("yugabyte"), yugabyte=True)) == HONEST


def test_without_its_flag_yugabytedb_runs_snapshots_under_the_name_read_committed_and_that_is_warned_of() -> (
    None
):
    results = on(Engine("yugabyte", read_committed=False), yugabyte=True)
    assert gives(results) == ["snapshot isolation", *HONEST[1:]]
    assert results.exit_code == 0
    first, second = results.levels[0].warnings
    assert first == "READ COMMITTED is silently another level here: it gives snapshot isolation."
    assert "yb_enable_read_committed_isolation" in second
    assert second in render(results)


@pytest.mark.parametrize(
    ("as_level", "warned"),
    [("read committed", ["repeatable read", "serializable"]), ("repeatable read", ["serializable"])],
)
def test_a_server_that_is_silently_weaker_is_broken(as_level: str, warned: list[str]) -> None:
    results = on(as_level=as_level)
    assert results.exit_code == 1
    weaker = [
        one.requested for one in results.levels if any("does not stop" in text for text in one.warnings)
    ]
    assert weaker == warned
    assert "x POSSIBLE" in render(results)
    assert f'asked for SERIALIZABLE, the server says "{as_level}".' in render(results)


def test_the_table_has_every_anomaly_at_every_level_in_80_columns() -> None:
    text = render(on())
    for probe in PROBES:
        assert f" {probe.code:8}  {probe.name}" in text
    table = [line for line in text.splitlines() if "claimed" in line or " stopped " in line]
    assert len(table) == len(PROBES) + 1
    assert max(len(line) for line in table) <= 80


def test_what_is_possible_amounts_to_a_level() -> None:
    assert level_of({"G1a", "P4"}) == "less than read committed"
    assert level_of({"P4"}) == "read committed"
    assert level_of({"G2-item"}) == "snapshot isolation"
    assert level_of(set()).startswith("serializable")
