"""A scenario is read, or everything that is wrong with it is told with its place."""

import json
from pathlib import Path

import pytest

from arbsim.model import Fate, Kind
from arbsim.scenario import CODES, load_scenario, render
from arbsim.worlds.virtual.sql import check_statement
from tests.scenario.texts import SCENARIOS, SHIPPED, SMALL, generated, mistakes_in, read, told


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_scenario_is_read(path: Path) -> None:
    scenario = load_scenario(path, check_sql=check_statement)

    assert scenario.question
    assert set(scenario.expect) <= {entry.name for entry in scenario.designs}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_a_scenario_describes_is_itself_a_scenario_and_the_same(path: Path) -> None:
    scenario = load_scenario(path)

    again = read(json.dumps(scenario.describe()))

    assert again.describe() == scenario.describe()
    assert again.digest() == scenario.digest()
    assert [entry.parameters for entry in again.designs] == [entry.parameters for entry in scenario.designs]


def test_two_regions_lists_every_shipped_design_but_the_one_about_the_change_stream() -> None:
    from arbsim.designs import catalogue

    scenario = load_scenario(SCENARIOS / "two_regions.yaml")

    assert sorted(entry.design or "" for entry in scenario.designs) == sorted(
        set(catalogue()) - {"db/read-model"}
    )


def test_defaults_are_filled_in() -> None:
    scenario = read(SMALL)

    assert scenario.seed == 1
    assert scenario.database.dialect == "yugabyte"
    assert (scenario.database_leader, scenario.kafka_leader) == ("east", "east")
    assert scenario.client_regions == ("east", "west")
    assert scenario.network.jitter == 50_000
    assert scenario.round_trips_ns()["west", "east"] == 64_000_000
    assert scenario.round_trips_ns()["quiet", "quiet"] == 500_000
    assert scenario.accounts == {1: 10_000, 2: 5_000}


def test_each_direction_of_a_pair_can_have_its_own_round_trip() -> None:
    scenario = read(SMALL.replace("east-west: 64 ms", "east-west: 64 ms, west-east: 66 ms"))

    assert scenario.round_trips_ns()["east", "west"] == 64_000_000
    assert scenario.round_trips_ns()["west", "east"] == 66_000_000


def test_the_digest_changes_with_the_meaning_and_not_with_the_writing() -> None:
    digest = read(SMALL).digest()

    assert read("# a remark\n" + SMALL.replace("60.00", "60")).digest() == digest
    assert read(SMALL.replace("seed", "seed") + "seed: 1\n").digest() == digest
    assert read(SMALL.replace("60.00", "60.01")).digest() != digest
    assert read(SMALL.replace("{east: {}, west: {}", "{west: {}, east: {}")).digest() != digest


def test_expectations_are_counts_bounds_and_fates() -> None:
    text = SMALL + (
        "expect:\n  db/atomic-update: {verdict: not-violated, final: {1: [30.00, 40.00], 2: 50.00}, overdraft: 0,"
        " operations: {1: accepted, 2: [rejected, failed]}, client_retries: {at_least: 1, at_most: 3},"
        " errors: {23514: 1}, outcomes: {rejected: {at_most: 1}}, totals: {wan_messages: {at_least: 2}}}\n"
    )

    expectation = read(text).expect["db/atomic-update"]

    assert expectation.final == {1: (3000, 4000), 2: (5000,)}
    assert expectation.operations == {1: (Fate.ACCEPTED,), 2: (Fate.REJECTED, Fate.FAILED)}
    assert {kind.value: str(count) for kind, count in expectation.findings.items()} == {"overdraft": "0"}
    assert expectation.client_retries is not None
    assert [expectation.client_retries.allows(count) for count in (0, 1, 3, 4)] == [False, True, True, False]
    assert str(expectation.outcomes[Fate.REJECTED]) == "0 to 1"
    assert str(expectation.totals["wan_messages"]) == "at least 2"
    assert expectation.errors["23514"].allows(1)


def test_a_recipe_is_read() -> None:
    recipe = read(
        generated(
            "operations: 10, arrivals: {process: bursts, rate: 30/min, burst: 5, within: 2 ms},"
            " amounts: {weights: {5.00: 60 %, 20.00: 40 %}}, mix: {withdraw: 99.5 %, read: 0.5 %},"
            " regions: {east: {share: 75 %, mix: {deposit: 100 %}}}"
        )
    ).workload.generate

    assert recipe is not None
    assert recipe.arrivals.rate * 2 == 1
    assert recipe.amounts.weights == {500: 600_000, 2000: 400_000}
    assert recipe.mix == {Kind.WITHDRAW: 995_000, Kind.READ: 5_000}
    assert recipe.regions["east"].share == 750_000


TRIPS = "{east-west: 64 ms, east-quiet: 15 ms, west-quiet: 50 ms}"
END = "[db/atomic-update]\n"


def expecting(expectation: str) -> str:
    return f"{END}expect: {{db/atomic-update: {expectation}}}\n"


MISTAKES = [
    # what is written, what is written instead, what is told
    ("name: small\n", "", ['E107 1:1 the key "name" is missing | A short name, for people.']),
    ("name: small", "name:", ["E107 1:1 a value is missing: a text was expected | such as"]),
    ("name: small", "name: [a]", ["E109 1:7 a list stands where a text was expected | such as "]),
    (
        "name: small",
        "nme: small",
        ['E107 1:1 the key "name"', 'E108 1:1 unknown key "nme" | did you mean "name"?'],
    ),
    ("name: small", "name: a\nname: b", ['E106 2:1 "name" already stands in line 1']),
    ("name: small", "name: a\nseed: -1", ["E111 2:7 a whole number from 0 to"]),
    ("name: small", "name: a\nseed: 1.5", ['E110 2:7 "1.5" is not a whole number']),
    ("name: small", "name: a\nseed: 010x", ['E110 2:7 "010x" is not a whole number']),
    (
        "name: small",
        "name: a\nsilence: [W999x]",
        [
            "E103 2:10 ",
        ],
    ),
    ("regions: {east: {}, west: {}, quiet: {clients: false}}", "regions: [east]", ["E109 2:10 a mapping"]),
    ("quiet: {clients: false}", "quiet: {clients: no}", ['E110 2:48 "no" is not true or false']),
    ("quiet: {clients: false}", "quiet: {location: 'us east'}", ["E110 2:49 "]),
    (
        "west-quiet: 50 ms",
        "west-quite: 50 ms",
        ['E103 3:62 "west-quite" names no pair of regions | did you mean "west-quiet"?'],
    ),
    (", west-quiet: 50 ms", "", ["E107 3:24 no round trip for west-quiet"]),
    (TRIPS, "aws-2024", ['E103 3:24 unknown preset of round trips "aws-2024" | did you mean "aws-2025"?']),
    (TRIPS, "aws-2025", ["E107 2:17 the round trips of aws-2025 need a location", "E107 2:27", "E107 2:38"]),
    ("64 ms", "64", ['E110 3:36 "64" has no unit | write "64 ms"']),
    ("64 ms", "0 ms", ["E111 3:36 at least"]),
    ("64 ms", "64 mS", ['E110 3:36 "64 mS" is not a duration']),
    ("64 ms", ".inf", ['E110 3:36 ".inf" is not a duration']),
    ("1: 100.00", "1: -1.00", ["E111 4:15 at least 0.00 was expected"]),
    ("1: 100.00", "1: 1e999", ['E110 4:15 "1e999" is not an amount']),
    ("1: 100.00", "1: 0.001", ['E110 4:15 "0.001" is not an amount']),
    ("1: 100.00", "1: 10000000000.00", ["E111 4:15 at most 9999999999.99 was expected"]),
    ("1: 100.00", "one: 100.00", ['E110 4:12 "one" is not a whole number']),
    (
        "{1: 100.00, 2: 50.00}",
        "{count: 2000000, balance: 1.00}",
        ["E111 4:19 a whole number from 1 to 1000000"],
    ),
    ("{1: 100.00, 2: 50.00}", "{}", ["E107 4:11 this is empty"]),
    ("5 ms, region: west", "5 ms, region: wst", ['E103 7:26 unknown region "wst" | did you mean "west"?']),
    ("5 ms, region: west", "5 ms, region: esat", ['E103 7:26 unknown region "esat" | did you mean "east"?']),
    ("5 ms, region: west", "5 ms, region: quiet", ['E112 7:26 the region "quiet" has no clients']),
    ("60.00, account: 1", "60.00, account: 3", ["E103 7:58 account 3 was not opened | accounts: 1, 2"]),
    ("60.00, account: 1", "0.00, account: 1", ["E111 7:42 an amount above zero was expected"]),
    ("60.00, account: 1", "-60.00, account: 1", ["E111 7:42 an amount above zero was expected"]),
    ("60.00, account: 1", "NaN, account: 1", ['E110 7:42 "NaN" is not an amount']),
    (
        "60.00, account: 1",
        "60.00, deposit: 1, account: 1",
        ["E112 7:7 one of withdraw, deposit, transfer or read was"],
    ),
    ("60.00, account: 1", "60.00, account: 1, to_account: 2", ["E112 7:7 a withdraw has no to_account"]),
    ("withdraw: 60.00, account: 1", "transfer: 60.00, account: 1", ["E107 7:7 a transfer needs to_account"]),
    ("withdraw: 60.00, account: 1", "transfer: 1, account: 1, to_account: 1", ["E112 7:7 account 1 cannot"]),
    (
        "withdraw: 60.00, ",
        "",
        ["E112 7:7 one of withdraw, deposit, transfer or read was expected, and here is none"],
    ),
    ("  operations:", "  generate: {}\n  operations:", ["E112 6:3 one of operations, generate or trace"]),
    (
        "db/atomic-update",
        "db/atomic_update",
        ['E103 9:11 unknown design "db/atomic_update" | did you mean "db/atomic-update"?'],
    ),
    ("[db/atomic-update]", "[]", ["E107 9:10 this is empty"]),
    (
        "[db/atomic-update]",
        "[db/atomic-update, db/atomic-update]",
        ['E106 9:29 "db/atomic-update" already stands'],
    ),
    ("[db/atomic-update]", "[{name: a}]", ["E107 9:11 an entry needs the key design (or sql)"]),
    (
        "db/atomic-update",
        "{design: db/atomic-update, atempts: 3}",
        ['E108 9:38 unknown key "atempts" | did you mean "attempts"?'],
    ),
    ("db/atomic-update", "{design: db/select-then-update, think_time: 50}", ['E110 9:55 "50" has no unit']),
    (
        END,
        END + "expect: {db/atomic: {verdict: holds}}\n",
        ['E103 10:10 the scenario lists no design "db/atomic" | did you mean "db/atomic-update"?'],
    ),
    (END, expecting("{verdict: safe}"), ['E103 10:38 unknown verdict "safe" | known:']),
    (
        END,
        expecting("{operations: {3: accepted}}"),
        ["E103 10:42 there is no operation 3 | operations: 1 to 2"],
    ),
    (END, expecting("{overdraft: {at_least: 2, at_most: 1}}"), ["E112 10:40 at_least is greater"]),
    (
        END,
        END + "database: {leader: nowhere}\n",
        ['E103 10:20 unknown region "nowhere" | known: east, west, quiet'],
    ),
    (END, END + "database: {table: 'CREATE TABLE acct (id BIGNT)'}\n", ["E113 10:"]),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES, ids=[case[1][:30] for case in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_cure(right: str, wrong: str, expected: list[str]) -> None:
    assert SMALL.count(right) >= 1

    found = told(SMALL.replace(right, wrong, 1))

    assert len(found) == len(expected), found
    for have, want in zip(found, expected, strict=True):
        assert have.startswith(want) or want in have


RECIPE = "operations: 10, arrivals: {rate: 10/s}, amounts: {fixed: 1.00}, mix: {withdraw: 100 %}"
RECIPE_MISTAKES = [
    ("withdraw: 100 %", "withdraw: 90 %", "E112 5:22 the parts of the mix make up 90 %, not 100 %"),
    ("withdraw: 100 %", "take: 100 %", 'E103 5:93 unknown kind of operation "take"'),
    ("rate: 10/s", "rate: 10", 'E110 5:56 "10" is not a rate'),
    ("rate: 10/s", "rate: 0/s", "E111 5:56 a rate above 0/s"),
    ("rate: 10/s", "process: bursts, rate: 10/s", "E107 5:49 bursts need a size"),
    ("rate: 10/s", "rate: 10/s, burst: 4", "E112 5:49 burst and within mean nothing"),
    ("rate: 10/s", "rate: 0.05/h", "E111 5:22 at this rate the operations take longer than 7 days"),
    ("fixed: 1.00", "from: 2.00, to: 1.00", "E112 5:72 from is greater than to"),
    ("fixed: 1.00", "from: 2.00", "E107 5:72 from and to belong together"),
    ("fixed: 1.00", "fixed: 2.00, to: 3.00", "E112 5:72 one form was expected"),
    ("fixed: 1.00", "weights: {1.00: 10 %}", "E112 5:72 the weights make up 10 %"),
    (
        "operations: 10,",
        "operations: 10, regions: {east: {share: 60 %}, west: {share: 60 %}},",
        "more than 100 %",
    ),
    (
        "operations: 10,",
        "operations: 10, regions: {east: {share: 20 %}, west: {share: 60 %}},",
        "make up 80 %",
    ),
    (
        "operations: 10,",
        "operations: 10, regions: {quiet: {share: 20 %}},",
        'the region "quiet" has no clients',
    ),
    ("operations: 10,", "operations: 10, accounts: {exponent: 1},", "an exponent means nothing"),
    ("operations: 10,", "operations: 1000001,", "a whole number from 1 to 1000000"),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), RECIPE_MISTAKES)
def test_a_mistake_in_a_recipe_is_told(right: str, wrong: str, expected: str) -> None:
    assert told(generated(RECIPE)) == []

    (found,) = told(generated(RECIPE.replace(right, wrong)))

    assert expected in found


def test_transfers_need_two_accounts() -> None:
    recipe = RECIPE.replace("withdraw", "transfer")

    assert told(generated(recipe)) == []
    assert "a transfer needs two accounts" in told(generated(recipe, "{5: 1.00}"))[0]


def test_every_mistake_is_told_at_once() -> None:
    text = (
        SMALL.replace("name: small", "nme: small")
        .replace("64 ms", "64")
        .replace("region: west", "region: wst")
        .replace("70.00", "seventy")
        .replace("db/atomic-update", "db/atomic, {name: b, design: db/serializable, select_first: perhaps}")
    )

    assert [line.split(" ")[0:2] for line in told(text)] == [
        ["E107", "1:1"], ["E108", "1:1"], ["E110", "3:36"], ["E103", "7:26"], ["E110", "8:42"],
        ["E103", "9:11"], ["E110", "9:71"],
    ]  # fmt: skip


def test_a_mistake_is_rendered_with_its_line_and_carets() -> None:
    text = SMALL.replace("region: west", "region: wst")

    assert render(mistakes_in(text)) == (
        'error[E103] small.yaml:7:26  unknown region "wst"\n'
        " 7 |     - {at: 5 ms, region: wst, withdraw: 60.00, account: 1}\n"
        '   |                          ^^^ did you mean "west"?'
    )


def test_warnings_do_not_stop_a_scenario_and_can_be_silenced() -> None:
    text = SMALL.replace("west: {}", "west: {clients: false}").replace("region: west", "region: east")

    assert [warning.code for warning in read(text).warnings] == ["W201"]
    assert "warn[W201] small.yaml:2:1" in render(read(text).warnings)
    assert read(text + "silence: [W201]\n").warnings == ()


def test_two_entries_that_are_the_same_are_worth_a_warning() -> None:
    text = SMALL.replace("[db/atomic-update]", "[db/atomic-update, {name: again, design: db/atomic-update}]")

    assert [(warning.code, warning.column) for warning in read(text).warnings] == [("W202", 29)]


def test_no_region_with_clients_is_a_mistake() -> None:
    text = SMALL.replace("{east: {}, west: {},", "{east: {clients: false}, west: {clients: false},")

    assert any("no region has clients" in line or "has no clients" in line for line in told(text))


def test_every_code_that_is_used_is_listed() -> None:
    sources = (Path(__file__).parents[2] / "sim" / "arbsim" / "scenario").glob("*.py")
    used = {
        word for path in sources for word in path.read_text().replace('"', " ").split() if word[:1] in "EW"
    }

    assert {word for word in used if word[1:].isdigit() and len(word) == 4} == set(CODES)
