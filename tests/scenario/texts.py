"""Scenario texts for the tests."""

from pathlib import Path

from arbsim.scenario import Mistake, Scenario, ScenarioError
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.worlds.virtual.sql import check_statement

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SHIPPED = sorted(SCENARIOS.glob("*.yaml"))

SMALL = """\
name: small
regions: {east: {}, west: {}, quiet: {clients: false}}
network: {round_trips: {east-west: 64 ms, east-quiet: 15 ms, west-quiet: 50 ms}}
accounts: {1: 100.00, 2: 50.00}
workload:
  operations:
    - {at: 5 ms, region: west, withdraw: 60.00, account: 1}
    - {at: 0 ms, region: east, withdraw: 70.00, account: 1}
designs: [db/atomic-update]
"""


def read(text: str, folder: Path = SCENARIOS) -> Scenario:
    return parse_scenario(Source("small.yaml", text), folder=folder, check_sql=check_statement)


def mistakes_in(text: str, folder: Path = SCENARIOS) -> list[Mistake]:
    try:
        read(text, folder)
    except ScenarioError as error:
        return list(error.mistakes)
    return []


def told(text: str) -> list[str]:
    """Each mistake as "E103 4:7 message | hint"."""
    return [
        f"{mistake.code} {mistake.line}:{mistake.column} {mistake.message} | {mistake.hint}"
        for mistake in mistakes_in(text)
    ]


def generated(recipe: str, accounts: str = "{count: 10, balance: 100.00}") -> str:
    """SMALL with a recipe instead of its list."""
    head = SMALL[: SMALL.index("workload")].replace("{1: 100.00, 2: 50.00}", accounts)
    return f"{head}workload: {{generate: {{{recipe}}}}}\ndesigns: [db/atomic-update]\n"
