"""``arbsim live`` without servers: what is kept however it ends, exit codes, and the model's word beside the run."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from arbsim import live
from arbsim.agreement import Calibration
from arbsim.cli.app import _run_app as run_app
from arbsim.conform.cases import Case, Observed
from arbsim.conform.check import ModelExecutor
from arbsim.conform.model import play as play_on_model
from arbsim.conform.verify import verify
from arbsim.designs import catalogue
from arbsim.history import History
from arbsim.history_file import load
from arbsim.model import Fate
from arbsim.repeating import designs as repeating
from arbsim.results import LinkFacts, ServerFacts
from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.links import Links
from arbsim.worlds.live.own import OwnServers
from arbsim.worlds.live.security import KafkaSecurity
from arbsim.worlds.live.servers import Servers, Stack
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.sql import Engine
from arbsim.worlds.virtual.world import run_design as run_model

SCENARIO = """\
name: short
regions:
  east: {location: us-east-1}
  west: {location: us-west-2}
database: {dialect: postgres, leader: east, pool_size: 100000}
accounts: {1: 100.00}
workload:
  operations:
    - {at: 0 ms, region: west, withdraw: 60.00, account: 1}
    - {at: 5 ms, region: east, withdraw: 70.00, account: 1}
designs: [db/atomic-update, db/serializable, db/select-then-update]
"""

Step = Callable[[], object]
DATABASE = DatabaseServer("127.0.0.1", 1, "me", "data")
LINKS = cast(Links, None)
"""Nobody goes over them here."""


def nothing() -> None:
    """A step that goes as it should."""


class Machine:
    """Stands in for real servers: the model's own histories, and what is to go wrong before each."""

    def __init__(self) -> None:
        self.live: dict[str, Step] = {}
        self.model: dict[str, Step] = {}
        self.cut_off: set[str] = set()
        self.runs: list[str] = []
        self.names: list[str] = []
        self.ask: Step = nothing
        self.own: OwnServers | None = None
        self.levels: dict[str, str] = {"READ COMMITTED in force": "read committed"}
        self.servers: Servers
        self.modelled: list[Settings] = []

    def judged(self, name: str) -> bool:
        return name in self.names

    def answer(self) -> None:
        self.ask()

    def run_live(
        self,
        design: Any,
        card: Any,
        workload: Any,
        settings: Any,
        servers: Any,
        run: str,
        on_delivered: Any,
        on_cut_off: Callable[[History], None],
    ) -> History:
        assert run not in self.runs
        self.runs.append(run)
        if card.name in self.cut_off:
            on_cut_off(_begun(card, workload))
        self.live.get(f"{card.name}, again" if self.judged(card.name) else card.name, nothing)()
        self.names.append(card.name)
        return run_model(design, card, workload, settings)

    def run_model(self, design: Any, card: Any, workload: Any, settings: Any) -> History:
        self.model.get(card.name, nothing)()
        self.modelled.append(settings)
        return run_model(design, card, workload, settings)


def _begun(card: Any, workload: Any) -> History:
    """The first operation was accepted; the others were not answered."""
    history = History(card, workload, cut_off=True)
    history.invoke(1, 0)
    history.answer(1, 5_000_000, Fate.ACCEPTED)
    history.invoke(2, 5_000_000)
    return history


@pytest.fixture(name="machine")
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine()
    machine.servers = Servers(DATABASE, LINKS, tmp_path, None, "none here", None, nothing, machine.answer)
    database = ServerFacts(name="database", product="PostgreSQL", version="18.6", settings={"fsync": "off"})
    links = (LinkFacts(region="east", server="database", round_trip_ms=1.0, measured_ms=1.5),)

    @contextmanager
    def stack(settings: object, needs: object, waiting_for: object) -> Iterator[Stack]:
        yield Stack(machine.servers, (database,), links)

    @contextmanager
    def own_stack(
        settings: object, needs: object, own: OwnServers, waiting_for: object, tell: Callable[[str], None]
    ) -> Iterator[Stack]:
        machine.own = own
        yield Stack(machine.servers, (database,), links)
        tell("something stayed")

    async def levels(database: object) -> dict[str, str]:
        return machine.levels

    monkeypatch.setattr(live, "local_stack", stack)
    monkeypatch.setattr(live, "own_stack", own_stack)
    monkeypatch.setattr(live, "isolation_levels", levels)
    monkeypatch.setattr(live, "run_design", machine.run_live)
    monkeypatch.setattr(live, "run_model", machine.run_model)
    monkeypatch.setattr(
        repeating,
        "calibrate",
        lambda settings, *_: (
            settings,
            Calibration(links=(), flows=(), parameters_ms={"kafka.mirror_lag": 5}),
        ),
    )
    (tmp_path / "short.yaml").write_text(SCENARIO, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return machine


def results() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path("reports/short_live/results.json").read_text(encoding="utf-8"))
    return document


def raises(error: BaseException) -> Step:
    def step() -> None:
        raise error

    return step


def test_a_run_is_judged_with_the_model_s_word_beside_it(machine: Machine) -> None:
    assert run_app(["live", "short.yaml"], as_json=False) == 0
    told = results()
    assert told["manifest"]["world"] == "live"
    assert list(told["live"]["simulated"]) == list(told["designs"])
    assert told["live"]["servers"][0]["settings"] == {
        "fsync": "off",
        "READ COMMITTED in force": "read committed",
    }


def test_json_is_one_document_on_stdout(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["live", "short.yaml", "--json"], as_json=True) == 0
    told = capsys.readouterr()
    assert list(json.loads(told.out)["designs"]) == [
        "db/atomic-update",
        "db/serializable",
        "db/select-then-update",
    ]
    assert told.err == ""


def test_whether_server_and_model_say_the_same_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def another_way(design: Any, card: Any, workload: Any, settings: Any) -> History:
        return run_model(catalogue()["db/atomic-update"](), card, workload, settings)

    monkeypatch.setattr(live, "run_model", another_way)
    run_app(["live", "short.yaml"], as_json=False)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" ! ")]
    assert len(told) == 1
    assert told[0].startswith(" ! db/select-then-update: live violated (")
    page = Path("reports/short_live/report.md").read_text(encoding="utf-8")
    beside = page.partition("## Live and simulated")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `?db/[^|]* \| (yes|no) ", beside, re.MULTILINE) == ["yes", "yes", "no"]


def test_a_design_that_fails_on_the_model_does_not_throw_the_live_run_away(machine: Machine) -> None:
    machine.model["db/serializable"] = raises(ValueError("a bug of the model"))
    assert run_app(["live", "short.yaml"], as_json=False) == 0
    told = results()
    assert len(told["designs"]) == 3
    assert list(told["live"]["simulated"]) == ["db/atomic-update", "db/select-then-update"]


@pytest.mark.parametrize("where", ["live", "model"])
def test_ctrl_c_is_130_and_keeps_what_was_judged(
    where: str, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(machine, where)["db/serializable"] = raises(KeyboardInterrupt())
    with pytest.raises(SystemExit) as left:
        run_app(["live", "short.yaml"], as_json=False)
    assert left.value.code == 130
    told = results()
    assert len(told["designs"]) == {"live": 1, "model": 3}[where]
    assert list(told["live"]["simulated"]) == ["db/atomic-update"]
    assert capsys.readouterr().err.startswith(
        "Interrupted. What happened so far: reports/short_live/report.html"
    )


def test_ctrl_c_before_anything_was_judged_is_130_and_writes_nothing(machine: Machine) -> None:
    machine.live["db/atomic-update"] = raises(KeyboardInterrupt())
    assert run_app(["live", "short.yaml"], as_json=False) == 130
    assert not Path("reports").exists()


def test_a_server_that_goes_is_4_and_what_was_judged_before_is_kept(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = live.ServerUnavailable("PostgreSQL ended with status 1\nlog")
    gone.add_note("Of its 2 operations: 1 unknown")
    machine.live["db/select-then-update"] = raises(gone)
    assert run_app(["live", "short.yaml"], as_json=False) == 4
    assert list(results()["designs"]) == ["db/atomic-update", "db/serializable"]
    assert results()["live"]["not_run"] == {
        "db/select-then-update": "PostgreSQL ended with status 1. Of its 2 operations: 1 unknown"
    }
    told = capsys.readouterr().err
    assert "error: PostgreSQL ended with status 1\nlog\nWhat happened so far: reports/short_live" in told


@pytest.mark.parametrize("judged_before", [True, False])
def test_a_design_that_was_at_work_when_a_server_went_is_kept_with_every_operation(
    judged_before: bool, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "db/serializable" if judged_before else "db/atomic-update"
    gone = live.ServerUnavailable("PostgreSQL ended with status 1\nlog")
    gone.add_note("Of its 2 operations: 1 accepted, 1 unknown")
    machine.live[name], machine.cut_off = raises(gone), {name}
    assert run_app(["live", "short.yaml"], as_json=False) == 4
    told = results()
    assert list(told["designs"]) == ["db/atomic-update", "db/serializable"][: 1 + judged_before]
    assert set(told["live"]["not_run"].values()) == {"the run ended before"}
    assert name not in told["live"]["simulated"]
    one = told["designs"][name]
    why = "the run was cut off: PostgreSQL ended with status 1. Of its 2 operations: 1 accepted, 1 unknown"
    assert (one["verdict"], one["notes"]) == ("inconclusive", [why])
    history = load(Path("reports/short_live/history.jsonl")).histories[-1]
    assert history.cut_off
    assert [history.fate(number) for number in (1, 2)] == [Fate.ACCEPTED, None]
    assert "What happened so far: reports/short_live" in capsys.readouterr().err
    assert run_app(["audit", "reports/short_live/history.jsonl"], as_json=False) == 3
    again = capsys.readouterr().out
    assert why in " ".join(again.split())
    assert "Exit status 3" in again


def test_a_server_that_never_came_is_4_and_writes_nothing(machine: Machine) -> None:
    machine.live["db/atomic-update"] = raises(live.ServerUnavailable("PostgreSQL did not start"))
    assert run_app(["live", "short.yaml"], as_json=False) == 4
    assert not Path("reports").exists()


def test_an_expectation_of_a_design_that_no_server_stands_for_is_undecided(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_bus = SCENARIO.replace("designs: [", "designs: [bus/single-writer, ")
    expected = "expect:\n  bus/single-writer: {verdict: not-violated}\n"
    Path("short.yaml").write_text(with_bus + expected, encoding="utf-8")
    assert run_app(["live", "short.yaml"], as_json=False) == 3
    assert results()["live"]["not_run"] == {"bus/single-writer": "it needs Kafka: none here"}
    assert "none here" in capsys.readouterr().out


def test_a_race_is_repeated_through_every_design_and_told_in_every_format(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["live", "short.yaml", "--repeat", "60"], as_json=False) == 0
    found = results()["live"]["agreement"]
    assert found["asked"] == 60
    assert [op["region"] for op in found["operations"]] == ["west", "east"]
    assert list(found["designs"]) == list(results()["designs"])
    assert {one["repetitions"] for one in found["designs"].values()} == {60}
    assert found["designs"]["db/select-then-update"]["live"]["count"] > 0
    assert found["designs"]["db/atomic-update"]["live"]["count"] == 0
    out = capsys.readouterr().out
    assert out.count(": breaks 0.") == 3
    assert "--repeat 60" in out
    folder = Path("reports/short_live")
    for file in ("report.md", "report.html"):
        text = (folder / file).read_text(encoding="utf-8")
        assert "How often servers and model break" in text
        assert "they agree" in text


def test_without_being_asked_nothing_is_repeated(machine: Machine) -> None:
    run_app(["live", "short.yaml"], as_json=False)
    assert results()["live"]["agreement"] is None
    assert machine.names == list(results()["designs"])


def test_a_scenario_without_a_race_cannot_be_repeated(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("short.yaml").write_text(
        SCENARIO.replace("region: east, withdraw", "region: west, withdraw"), "utf-8"
    )
    assert run_app(["live", "short.yaml", "--repeat", "20"], as_json=False) == 2
    assert "nothing to repeat" in capsys.readouterr().err
    assert machine.names == []


def test_ctrl_c_while_repeating_keeps_the_designs_that_were_done(machine: Machine) -> None:
    machine.live["db/serializable, again"] = raises(KeyboardInterrupt())
    with pytest.raises(SystemExit) as left:
        run_app(["live", "short.yaml", "--repeat", "20"], as_json=False)
    assert left.value.code == 130
    assert len(results()["designs"]) == 3
    assert list(results()["live"]["agreement"]["designs"]) == ["db/atomic-update"]


def test_a_design_that_fails_on_the_model_is_not_repeated(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_on_the_model(design: Any, card: Any, workload: Any, settings: Any) -> History:
        if card.name == "db/serializable":
            raise ValueError("a bug of the model")
        return run_model(design, card, workload, settings)

    monkeypatch.setattr(repeating, "run_model", run_on_the_model)
    assert run_app(["live", "short.yaml", "--repeat", "20"], as_json=False) == 0
    assert list(results()["live"]["agreement"]["designs"]) == ["db/atomic-update", "db/select-then-update"]


def test_a_bug_in_a_design_is_told_and_what_was_judged_before_is_kept(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.live["db/serializable"] = raises(ValueError("a bug"))
    assert run_app(["live", "short.yaml"], as_json=False) == 5
    assert list(results()["designs"]) == ["db/atomic-update"]
    missing = results()["live"]["not_run"]
    assert missing["db/serializable"].startswith("design db/serializable ended with")
    assert missing["db/select-then-update"] == "the run ended before"
    told = capsys.readouterr().err
    assert "What happened so far: reports/short_live" in told
    assert "design db/serializable ended with" in told


def test_what_happened_before_a_design_failed_is_kept_with_every_operation(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.live["db/atomic-update"], machine.cut_off = raises(ValueError("a bug")), {"db/atomic-update"}
    assert run_app(["live", "short.yaml"], as_json=False) == 5
    (one,) = results()["designs"].values()
    assert one["verdict"] == "inconclusive"
    assert one["notes"][0].startswith("the run was cut off: design db/atomic-update ended with ValueError")
    assert set(results()["live"]["not_run"].values()) == {"the run ended before"}
    (history,) = load(Path("reports/short_live/history.jsonl")).histories
    assert [history.fate(number) for number in (1, 2)] == [Fate.ACCEPTED, None]
    assert "What happened so far: reports/short_live" in capsys.readouterr().err


def test_a_bug_before_the_first_operation_is_told_and_writes_nothing(machine: Machine) -> None:
    machine.live["db/atomic-update"] = raises(ValueError("a bug"))
    assert run_app(["live", "short.yaml"], as_json=False) == 5
    assert not Path("reports").exists()


def test_what_looks_like_a_bug_is_none_where_a_server_does_not_answer(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.live["db/serializable"] = raises(ValueError("the end of a connection"))
    machine.ask = raises(live.ServerUnavailable("the database data at 127.0.0.1:1: Connection refused"))
    assert run_app(["live", "short.yaml"], as_json=False) == 4
    assert list(results()["designs"]) == ["db/atomic-update"]
    assert "error: the database data at 127.0.0.1:1: Connection refused" in capsys.readouterr().err


OWN = ["--dsn", "postgresql://me:undisclosed@host:6543/data", "--kafka", "east=a:1,west=b:2"]


def test_own_servers_are_used_and_their_addresses_are_not_in_the_report(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["live", "short.yaml", *OWN, "--keep"], as_json=False) == 0
    assert machine.own == OwnServers(
        {"east": "a:1", "west": "b:2"}, DatabaseServer("host", 6543, "me", "data", "undisclosed"), keep=True
    )
    told = results()
    assert told["live"]["own"] is True
    assert told["manifest"]["replay"].endswith(" --kafka ... --dsn ...")
    assert "something stayed" in capsys.readouterr().err
    for file in Path("reports/short_live").iterdir():
        assert "undisclosed" not in file.read_text(encoding="utf-8")
    page = Path("reports/short_live/report.md").read_text(encoding="utf-8")
    assert "Servers that were there before" in page
    assert "All servers run on one machine" not in page


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--kafka", "east=a:1"], "west has no address"),
        (["--dsn", "postgresql://me:hidden@one,two/data"], "one host"),
        (["--compose", "--dsn", "postgresql://me@host/data"], "--compose is instead of"),
        (["--keep"], "--keep is for servers of your own"),
        (["--kafka-config", "client.properties"], "--kafka-config is for Kafka of your own, with --kafka"),
        ([*OWN, "--repeat", "20"], "--repeat is for servers that are started here"),
    ],
)
def test_addresses_that_are_none_are_bad_input(
    options: list[str], told: str, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_app(["live", "short.yaml", *options], as_json=False) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "hidden" not in err


def test_a_file_for_kafka_s_clients_says_how_it_is_spoken_to(machine: Machine) -> None:
    login = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=me password=undisclosed;"
    )
    lines = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", f"sasl.jaas.config={login}"]
    Path("client.properties").write_text("\n".join(lines), encoding="ascii")
    assert run_app(["live", "short.yaml", *OWN, "--kafka-config", "client.properties"], as_json=False) == 0
    assert machine.own is not None
    assert machine.own.security == KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "me", "undisclosed")
    assert results()["manifest"]["replay"].endswith(" --kafka ... --kafka-config ... --dsn ...")
    for file in Path("reports/short_live").iterdir():
        assert "undisclosed" not in file.read_text(encoding="utf-8")


def test_all_that_is_wrong_with_such_a_file_is_told_at_once_and_nothing_is_asked(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("client.properties").write_text("acks=all\n\nsecurity.protocol=TLS\nx\ty=1", encoding="ascii")
    assert run_app(["live", "short.yaml", *OWN, "--kafka-config", "client.properties"], as_json=False) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2][:30] for line in told] == [
        "client.properties:1: 'acks' is",
        "client.properties:3: security.",
        "client.properties:4: 'x' is no",
    ]
    assert machine.runs == []


def test_a_yugabytedb_whose_read_committed_is_silently_a_snapshot_is_reported_and_modelled_as_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(case: Case) -> Observed:
        return play_on_model(case, lambda: Engine("yugabyte", read_committed=False))

    found = asyncio.run(verify(ModelExecutor.target, True, play))
    machine.levels = live.in_force(found)
    machine.servers = replace(machine.servers, product="YugabyteDB")
    assert run_app(["live", "short.yaml"], as_json=False) == 0
    told = results()["live"]["servers"][0]["settings"]["READ COMMITTED in force"]
    assert told.startswith("snapshot isolation. READ COMMITTED is silently another level here")
    assert "yb_enable_read_committed_isolation" in told
    assert {(one.database.dialect, one.database.read_committed) for one in machine.modelled} == {
        ("yugabyte", False)
    }
