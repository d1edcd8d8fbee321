"""A trace is a CSV file beside the scenario; each mistake in it has its own place."""

import os
from pathlib import Path

import pytest

from arbsim.model import Kind, Operation
from arbsim.workload import build_workload
from tests.scenario.texts import SMALL, mistakes_in, read

TEXT = SMALL[: SMALL.index("workload")] + "workload: {trace: ops.csv}\n" + SMALL[SMALL.index("designs") :]
HEADER = "at,region,kind,account,to_account,amount\n"


def told_of(folder: Path, content: str | bytes, text: str = TEXT) -> list[str]:
    data = content.encode() if isinstance(content, str) else content
    (folder / "ops.csv").write_bytes(data)
    return [
        f"{mistake.code} {Path(mistake.file).name}:{mistake.line}:{mistake.column} {mistake.message}"
        for mistake in mistakes_in(text, folder)
    ]


def test_rows_become_operations_in_order_of_time(tmp_path: Path) -> None:
    rows = "5 ms,west,withdraw,1,,60.00\n0 ms,east,transfer,1,2,5\n\n5 ms,east,read,2,,\n"
    assert told_of(tmp_path, HEADER + rows) == []

    assert build_workload(read(TEXT, tmp_path)).operations == (
        Operation(1, 0, "east", Kind.TRANSFER, 1, 500, 2),
        Operation(2, 5_000_000, "west", Kind.WITHDRAW, 1, 6000),
        Operation(3, 5_000_000, "east", Kind.READ, 2),
    )


def test_columns_come_in_any_order_and_times_as_milliseconds(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfaccount, kind ,at_ms,region,amount\r\n1,deposit,1.5,east, 2.00\r\n"
    assert told_of(tmp_path, data) == []

    assert build_workload(read(TEXT, tmp_path))[1] == Operation(1, 1_500_000, "east", Kind.DEPOSIT, 1, 200)


def test_the_digest_of_a_scenario_covers_its_trace(tmp_path: Path) -> None:
    told_of(tmp_path, HEADER + "0 ms,east,withdraw,1,,1.00\n")
    before = read(TEXT, tmp_path)
    told_of(tmp_path, HEADER + "0 ms,east,withdraw,1,,1.01\n")

    assert read(TEXT, tmp_path).digest() != before.digest()
    assert before.describe()["workload"] == {"trace": "ops.csv"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("soon,east,withdraw,1,,1.00", 'E110 ops.csv:2:1 "soon" is not a duration'),
        ("1 ms,est,withdraw,1,,1.00", 'E103 ops.csv:2:6 no region with clients is named "est"'),
        ("1 ms,quiet,withdraw,1,,1.00", 'E103 ops.csv:2:6 no region with clients is named "quiet"'),
        ("1 ms,east,take,1,,1.00", 'E103 ops.csv:2:11 unknown kind of operation "take"'),
        ("1 ms,east,withdraw,9,,1.00", "E103 ops.csv:2:20 account 9 was not opened"),
        ("1 ms,east,withdraw,1,,0.00", "E111 ops.csv:2:23 an amount above zero was expected"),
        ("1 ms,east,withdraw,1,,-5", "E111 ops.csv:2:23 an amount above zero was expected"),
        ("1 ms,east,withdraw,1,,1e999", 'E110 ops.csv:2:23 "1e999" is not an amount of money'),
        ("1 ms,east,withdraw,1,,", "E114 ops.csv:2:1 a withdraw needs an amount"),
        ("1 ms,east,read,1,,5", "E112 ops.csv:2:1 a read has no amount"),
        ("1 ms,east,transfer,1,,5", "E114 ops.csv:2:1 a transfer needs to_account"),
        ("1 ms,east,transfer,1,1,5", "E112 ops.csv:2:1 account 1 cannot transfer to itself"),
        ("1 ms,east,withdraw,1,2,5", "E112 ops.csv:2:1 a withdraw has no to_account"),
        ("1 ms,east,withdraw,1", "E114 ops.csv:2:1 6 values expected, 4 values found"),
        ('1 ms,"east",withdraw,1,,5', "E114 ops.csv:2:1 6 values expected, a quote found"),
    ],
)
def test_a_mistake_in_a_row_is_told_with_its_place(tmp_path: Path, row: str, expected: str) -> None:
    assert told_of(tmp_path, HEADER + row + "\n") == [expected]


def test_every_mistake_of_a_trace_and_its_scenario_is_told_at_once(tmp_path: Path) -> None:
    rows = "1 ms,est,withdraw,1,,0\n2 ms,east,withdraw,1,,1\nsoon,east,withdraw,1,,1\n"

    assert [line[:16] for line in told_of(tmp_path, HEADER + rows, TEXT.replace("64 ms", "64"))] == [
        "E110 small.yaml:", "E103 ops.csv:2:6", "E111 ops.csv:2:2", "E110 ops.csv:4:1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "E107 ops.csv:1:1 no column region, kind, account, at or at_ms (one of them)"),
        (HEADER, "E114 ops.csv:1:1 the trace has no operations"),
        ("at,region,kind,acount\n", "E107 ops.csv:1:1 no column account"),
        ("at,at_ms,region,kind,account\n", "E107 ops.csv:1:1 no column at or at_ms (one of them)"),
        ("at,region,kind,account,kind\n", "E106 ops.csv:1:24 the column stands twice"),
        (b"at,region\n\xff", "E102 ops.csv:2:1 byte 0xff is not UTF-8"),
    ],
)
def test_a_trace_needs_its_columns(tmp_path: Path, content: str | bytes, expected: str) -> None:
    assert expected in told_of(tmp_path, content)


@pytest.mark.parametrize("name", ["/etc/passwd", "../ops.csv", "a/../../ops.csv", "..\\ops.csv"])
def test_a_trace_lies_beside_the_scenario_or_below_it(tmp_path: Path, name: str) -> None:
    text = TEXT.replace("trace: ops.csv", f"trace: '{name}'")

    assert [mistake.message for mistake in mistakes_in(text, tmp_path)] == [
        "a trace lies beside the scenario or below it"
    ]


def test_a_link_that_leads_away_from_the_scenario_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.csv").write_text("secret\n")
    (tmp_path / "inside" / "ops.csv").symlink_to(tmp_path / "outside.csv")

    (mistake,) = mistakes_in(TEXT, tmp_path / "inside")

    assert mistake.message == "a trace lies beside the scenario or below it"


def test_what_is_no_file_is_told_where_the_scenario_names_it(tmp_path: Path) -> None:
    assert [str(mistake.message) for mistake in mistakes_in(TEXT, tmp_path)] == [
        "the trace cannot be used: there is no such file"
    ]
    os.mkfifo(tmp_path / "ops.csv")
    (mistake,) = mistakes_in(TEXT, tmp_path)
    assert (mistake.code, mistake.line, mistake.column) == ("E101", 5, 19)
    assert mistake.message == "the trace cannot be used: this is no regular file; a file was expected"


def test_a_broken_trace_tells_the_first_hundred(tmp_path: Path) -> None:
    assert len(told_of(tmp_path, HEADER + "1 ms,est,withdraw,1,,1.00\n" * 1000)) == 100
