"""A shrunk run shows the same violation, has nothing that can be left out, and what is said of it is so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from jsonschema import Draft202012Validator

from arbsim.cli.app import _run_app
from arbsim.designs.select_then_update import SelectThenUpdate
from arbsim.model import FindingKind, Operation, Outcome
from arbsim.runner import designs_of, run_scenario
from arbsim.scenario import Scenario
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.parameter_paths import as_texts
from arbsim.scenario.source import Source
from arbsim.shrinking.bench import Bench, Case
from arbsim.shrinking.document import Fact, Shrunk, shrunk_schema
from arbsim.shrinking.reduce import settings_in, without_operation, without_region, without_setting
from arbsim.shrinking.run import Asked, NothingToShrink, _setup, shrink_run
from arbsim.workload import build_workload
from arbsim.worlds.api import Region
from arbsim.worlds.virtual.sql import check_statement
from tests.command import run

HEAD = """\
name: a crowd
seed: 7
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
  north: {location: eu-west-1}
  central: {location: us-east-2, clients: false}
network: {jitter: 20 %, local_round_trip: 1 ms}
database: {dialect: postgres, leader: central}
kafka: {mirror_lag: 25 ms, leader: central}
accounts: {count: 4, balance: 90.00}
designs:
  - bus/regional-deltas
  - db/active-active
  - db/select-then-update
  - db/atomic-update
  - {name: no check, design: db/select-then-decrement, check: false, think_time: 30 ms}
"""


def crowd(operations: int = 80) -> str:
    draw = Random("crowd")
    lines = []
    for number in range(operations):
        region = draw.choice(["east", "west", "north"])
        kind = draw.choice(["withdraw: 31.07", "withdraw: 12.50", "deposit: 8.80", "read: true"])
        account = draw.randint(1, 4)
        lines.append(f"    - {{at: {number * 13 + 3}.7 ms, region: {region}, {kind}, account: {account}}}")
    return f"{HEAD}workload:\n  operations:\n" + "\n".join(lines) + "\n"


def parsed(text: str) -> Scenario:
    return parse_scenario(Source("a test", text), folder=Path(), check_sql=check_statement)


def shrunk(scenario: Scenario, name: str) -> Shrunk:
    asked = Asked(scenario, scenario.seed, name, designs_of(scenario, [name])[name], False, 2)
    return shrink_run(asked, lambda any_order: "arbsim explore x.yaml" if any_order else "arbsim run x.yaml")


def case_of(small: Shrunk) -> tuple[Case, Bench]:
    """The case that was written, read again, and a bench that has run nothing yet."""
    scenario = parsed(small.scenario)
    design = designs_of(scenario, [small.design])[small.design]
    setup = _setup(Asked(scenario, scenario.seed, small.design, design, False, 2))
    if scenario.seed == 1:
        del setup["seed"]
    bench = Bench(small.design, small.kind, small.world == "exhaustive")
    return Case(setup, build_workload(scenario, scenario.seed)), bench


CROWD = parsed(crowd())


@pytest.fixture(scope="module")
def all_shrunk() -> dict[str, Shrunk]:
    return {name: shrunk(CROWD, name) for name in ("bus/regional-deltas", "db/active-active", "no check")}


def test_what_is_left_is_two_operations_on_one_account(all_shrunk: dict[str, Shrunk]) -> None:
    for small in all_shrunk.values():
        assert small.before.operations == 80
        assert (small.after.operations, small.after.accounts) == (2, 1), small.scenario
    assert all_shrunk["db/active-active"].after.regions == 2
    assert all_shrunk["no check"].after.regions == 1


def test_without_any_one_of_what_is_left_it_does_not_break(all_shrunk: dict[str, Shrunk]) -> None:
    for small in all_shrunk.values():
        case, bench = case_of(small)
        assert bench.shows(case)
        for without in (without_operation, without_region, without_setting):
            for smaller in without(case):
                assert not bench.shows(smaller), f"{small.scenario}\n{smaller.data}"


def test_a_setting_that_the_violation_needs_is_kept(all_shrunk: dict[str, Shrunk]) -> None:
    case, _ = case_of(all_shrunk["no check"])
    assert ("designs", "check") in settings_in(case.setup)


def test_every_sentence_counts_the_runs_that_it_stands_on(all_shrunk: dict[str, Shrunk]) -> None:
    for small in all_shrunk.values():
        Draft202012Validator(shrunk_schema()).validate(small.model_dump(mode="json"))
        for fact in small.facts:
            assert fact.tried > 0, fact
            assert 0 <= fact.violating <= fact.tried
            if not fact.matters:
                assert fact.violating == fact.tried, fact


def about(small: Shrunk, what: str) -> Fact:
    return next(fact for fact in small.facts if fact.about == what)


def test_the_time_that_is_told_is_the_time_up_to_which_it_breaks(all_shrunk: dict[str, Shrunk]) -> None:
    small = all_shrunk["db/active-active"]
    case, bench = case_of(small)
    words = about(small, "times").text.replace(";", "").split()
    until, then = (float(words[place]) for place in (words.index("ms") - 1, words.index("here") + 1))
    first, second = case.workload.operations
    for ms, breaks in ((until, True), (until / 2, True), (then, False), (4 * then, False)):
        later = first._replace(at_ns=round(ms * 1_000_000))
        assert bench.shows(case.with_operations([later, second])) is breaks


def test_amounts_are_told_as_the_runs_show_them(all_shrunk: dict[str, Shrunk]) -> None:
    text = about(all_shrunk["db/active-active"], "amounts").text
    assert "any withdrawals that are each within the balance and sum to more than it" in text
    deposits = crowd().replace("withdraw", "deposit")
    lost = shrunk(parsed(deposits), "db/active-active")
    assert lost.kind is FindingKind.LOST_UPDATE
    assert about(lost, "amounts").text.startswith("the amounts and the opening balance may be anything")


APART = HEAD + """\
workload:
  operations:
    - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
    - {at: 60 s, region: west, withdraw: 60.00, account: 1}
"""  # fmt: skip


def test_where_the_run_holds_an_order_that_breaks_is_shrunk_until_the_run_breaks() -> None:
    small = shrunk(parsed(APART), "db/select-then-update")
    assert (small.world, small.replay) == ("virtual", "arbsim run x.yaml")
    assert (small.after.operations, small.after.regions) == (2, 1)
    case, bench = case_of(small)
    assert bench.shows(case)


@dataclass(frozen=True)
class Late(SelectThenUpdate):
    """The second operation rests for so long that no run shows what an order can do."""

    name = "probe/late"
    isolated_tasks = True

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        await region.sleep(60.0 * op.id)
        return await super().attempt(op, region)


def test_a_violation_that_no_run_shows_is_shrunk_in_every_order() -> None:
    small = shrink_run(Asked(parsed(APART), 7, "probe/late", Late(), True, 2), str)
    assert (small.world, small.replay) == ("exhaustive", "True")
    assert (small.after.operations, small.after.regions) == (2, 1)
    assert {fact.about for fact in small.facts} == {"parts", "amounts"}


def test_what_holds_in_every_order_has_nothing_to_shrink() -> None:
    with pytest.raises(NothingToShrink, match="nor in any order of 2 of its operations"):
        shrunk(parsed(APART), "db/atomic-update")


# -- the command -----------------------------------------------------------------------------------------------


def test_the_file_that_is_written_runs_and_meets_its_expectation(tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text(APART.replace("60 s", "5 ms"), encoding="utf-8")
    done = run("shrink", "near.yaml", "--design", "no check", "--out", "small.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nReplay: arbsim run small.yaml\nScenario: small.yaml\n" in done.stdout
    text = (tmp_path / "small.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Shrunk from: a crowd. It shows: overdraft.\n# Replay: arbsim run small.yaml\n")
    assert sum(not line.startswith("#") for line in text.splitlines()) < 20
    small = parsed(text)
    workload = build_workload(small, small.seed)
    results = run_scenario(small, workload, small.seed, designs_of(small), "").results
    assert [(one.what, one.status) for one in results.expectations] == [
        ("verdict", "met"), ("overdraft", "met"),
    ]  # fmt: skip


def test_bad_input_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "apart.yaml"
    path.write_text(APART, encoding="utf-8")
    for options, told in (
        (["--design", "db/atomic-update"], "there is nothing to shrink"),
        (
            ["--design", "no check", "--out", str(path)],
            "is the scenario itself; name another file with --out",
        ),
        (["--design", "no check", "--out", str(tmp_path / "none" / "x.yaml")], "No such file or directory"),
        (["--design", "nothing"], 'the scenario lists no design "nothing"'),
    ):
        assert _run_app(["shrink", str(path), *options], as_json=False) == 2
        shown = capsys.readouterr()
        assert told in shown.err
        assert shown.out == ""
    assert [one.name for one in tmp_path.iterdir()] == ["apart.yaml"]


def test_texts_of_a_setup_are_those_of_the_scenario() -> None:
    setup = _setup(Asked(CROWD, 7, "no check", designs_of(CROWD)["no check"], False, 2))
    assert setup["network"] == {"jitter": "20 %", "local_round_trip": "1 ms"}
    assert setup == as_texts(setup)
