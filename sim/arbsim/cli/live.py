"""``arbsim live``: a scenario through its designs on real servers, judged and reported as ``arbsim run`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arbsim.cli.app import app
from arbsim.cli.inputs import (
    Seed,
    choose_designs,
    own_designs_failing,
    read_scenario,
    replay_line,
    slug,
)
from arbsim.cli.output import (
    INTERRUPTED,
    AsJson,
    BadInput,
    Unreachable,
    bad_input,
    conclude,
    print_out,
    visible,
)
from arbsim.cli.run import progress, write_run

if TYPE_CHECKING:
    from arbsim.live import LiveRun
    from arbsim.scenario import Scenario
    from arbsim.worlds.api import Design
    from arbsim.worlds.live.own import OwnServers


KafkaConfig = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TLS and passwords of your own Kafka: a client.properties, as Kafka's own command line tools take it.",
    ),
]


@app.command()
def live(
    file: Annotated[
        str | None, typer.Argument(help="The scenario, or - for standard input.", show_default=False)
    ] = None,
    design: Annotated[
        list[str] | None,
        typer.Option(help="Run this design alone; path.py:ClassName adds one of your own. Can be repeated."),
    ] = None,
    seed: Seed = None,
    repeat: Annotated[
        int,
        typer.Option(
            help="Repeat the workload's first race this often through each design, live and simulated, and"
            " compare how often it goes wrong; 300 settle a difference of 0.10.",
            min=0,
            show_default=False,
        ),
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes; reports/SCENARIO_live if absent.")
    ] = None,
    setup: Annotated[
        bool,
        typer.Option("--setup", help="Fetch Kafka and Debezium once, with Maven, and prepare fast starts."),
    ] = False,
    kafka: Annotated[
        str | None,
        typer.Option(
            metavar="REGION=HOST:PORT,...",
            help="Your own Kafka, an address for each region, instead of servers that are started here.",
        ),
    ] = None,
    kafka_config: KafkaConfig = None,
    dsn: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Your own database: postgresql://user@host:port/database. The password can stand in PGPASSWORD.",
        ),
    ] = None,
    compose: Annotated[
        bool, typer.Option("--compose", help="The servers of docker-compose.yml, which must be up.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave on your own servers what was made there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a scenario through its designs on real servers, started here on loopback or your own, and judge each."""
    if setup:
        _set_up()
        if file is None:
            return
    if file is None:
        raise bad_input("name a scenario, or give --setup")
    scenario = read_scenario(file)
    designs = choose_designs(scenario, design or [])
    used = scenario.seed if seed is None else seed
    own = _own_servers(scenario, used, kafka, kafka_config, dsn, compose, keep, repeat)
    given = {"--kafka": kafka, "--kafka-config": kafka_config, "--dsn": dsn}
    where = " --compose" if compose else "".join(f" {name} ..." for name, value in given.items() if value)
    replay = replay_line("live", file, used, design or []) + where
    replay += f" --repeat {repeat}" if repeat else ""
    done = _run(scenario, designs, used, replay, own, repeat)
    folder = out if out is not None else Path("reports") / f"{slug(file, scenario.name)}_live"
    report = write_run(done.run, folder)
    if done.end is not None:
        _end_early(scenario, done, report, as_json)
    conclude(done.run.results, as_json, report)


def _end_early(scenario: Scenario, done: LiveRun, report: str, as_json: bool) -> None:
    """Say where what happened so far is, and end with what ended the run."""
    from arbsim.live import ServerUnavailable

    end = done.end
    if isinstance(end, KeyboardInterrupt):
        if as_json:
            print_out(done.run.results.model_dump_json(indent=2))
        typer.echo(f"Interrupted. What happened so far: {report}", err=True)
        raise SystemExit(INTERRUPTED)
    if isinstance(end, ServerUnavailable):
        raise Unreachable(f"{end}\nWhat happened so far: {report}")
    typer.echo(f"What happened so far: {report}", err=True)
    with own_designs_failing(scenario):
        assert end is not None
        raise end


def _set_up() -> None:
    """Fetch what is needed, once. Raises BadInput where Java or Maven is missing."""
    from arbsim.live import JavaMissing, ServerUnavailable, set_up

    def waiting_for(what: str) -> None:
        typer.echo(f"{what} ...", err=True)

    try:
        typer.echo(f"Ready: {set_up(waiting_for)}", err=True)
    except JavaMissing as missing:
        raise bad_input(str(missing)) from None
    except ServerUnavailable as problem:
        raise Unreachable(str(problem)) from None


def _own_servers(
    scenario: Scenario,
    seed: int,
    kafka: str | None,
    kafka_config: Path | None,
    dsn: str | None,
    compose: bool,
    keep: bool,
    repeat: int,
) -> OwnServers | None:
    """The servers that the options name; None where they are to be started here. Raises BadInput."""
    from arbsim.runner import settings_of
    from arbsim.worlds.live.addresses import BadAddress, parse_dsn, parse_kafka
    from arbsim.worlds.live.compose import ComposeFileError, compose_servers
    from arbsim.worlds.live.kafka_config import BadKafkaConfig, read_kafka_config
    from arbsim.worlds.live.own import OwnServers
    from arbsim.worlds.live.security import NO_SECURITY

    if kafka_config is not None and kafka is None:
        raise bad_input("--kafka-config is for Kafka of your own, with --kafka")
    if compose and (kafka is not None or dsn is not None):
        raise bad_input("--compose is instead of --kafka and --dsn: it knows the addresses")
    if not compose and kafka is None and dsn is None:
        if keep:
            raise bad_input("--keep is for servers of your own, with --kafka, --dsn or --compose")
        return None
    if repeat:
        raise bad_input(
            "--repeat is for servers that are started here: the delays of others are not measured"
        )
    settings = settings_of(scenario, seed)
    try:
        if compose:
            return compose_servers(settings.regions, settings.database.leader, keep)
        return OwnServers(
            None if kafka is None else parse_kafka(kafka, settings.regions),
            None if dsn is None else parse_dsn(dsn, os.environ),
            keep,
            security=NO_SECURITY if kafka_config is None else read_kafka_config(kafka_config),
        )
    except BadKafkaConfig as refused:
        raise BadInput("\n".join(f"error: {visible(one)}" for one in refused.mistakes)) from None
    except (BadAddress, ComposeFileError) as mistake:
        raise bad_input(str(mistake)) from None


def _run(
    scenario: Scenario,
    designs: dict[str, Design],
    seed: int,
    replay: str,
    own: OwnServers | None,
    repeat: int,
) -> LiveRun:
    from arbsim.live import NothingToRepeat, ServerUnavailable, notes_of, run_live
    from arbsim.workload import build_workload

    workload = build_workload(scenario, seed)
    try:
        with (
            own_designs_failing(scenario),
            progress(len(designs)) as on_design,
        ):
            return run_live(scenario, workload, seed, designs, replay, on_design, own, _tell, repeat)
    except NothingToRepeat as missing:
        raise bad_input(str(missing)) from None
    except ServerUnavailable as problem:
        raise Unreachable("\n".join((str(problem), *notes_of(problem)))) from None


def _tell(text: str) -> None:
    typer.echo(visible(text), err=True)
