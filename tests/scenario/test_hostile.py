"""Whatever a scenario file is, reading it ends soon, in mistakes that are safe to print."""

import os
import stat
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.scenario import Mistake, ScenarioError, load_scenario, render
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.nodes import DEPTH_MAX
from arbsim.scenario.source import SCENARIO_BYTES_MAX, Source
from tests.scenario.texts import SHIPPED, SMALL, mistakes_in, read, told


def refused(path: Path) -> list[Mistake]:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    return list(caught.value.mistakes)


def refused_text(path: Path) -> str:
    (mistake,) = refused(path)
    return f"{mistake.code} {mistake.line}:{mistake.column} {mistake.message}"


# -- files -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused_text(tmp_path / "none.yaml") == "E101 0:0 there is no such file"
    assert refused_text(tmp_path / "a\0b").startswith("E101 0:0 it cannot be read")
    assert refused_text(tmp_path / ("x" * 5000)).startswith("E101 0:0 it cannot be read")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refused_text(tmp_path) == "E101 0:0 this is a directory; a file was expected"


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    assert refused_text(tmp_path / "fifo") == "E101 0:0 this is no regular file; a file was expected"


def test_an_endless_device_is_refused() -> None:
    assert refused_text(Path("/dev/zero")) == "E101 0:0 this is no regular file; a file was expected"


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(SMALL)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", denied)

    assert refused_text(path) == "E101 0:0 no permission to read it"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(200_000_000)

    assert refused_text(path) == "E101 0:0 the file is larger than 1,000,000 bytes"


def test_a_file_that_grows_after_its_size_was_asked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing.yaml"
    path.write_bytes(b"#" * (SCENARIO_BYTES_MAX + 1))
    real = os.fstat

    def smaller(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[stat.ST_SIZE] = 10
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", smaller)

    assert refused_text(path) == "E101 0:0 the file is larger than 1,000,000 bytes"


def test_standard_input_is_read_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(SMALL.encode())))
    assert load_scenario("-").name == "small"

    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"x" * 2_000_000)))
    with pytest.raises(ScenarioError) as caught:
        load_scenario("-")
    assert render(caught.value.mistakes).startswith("error[E101] <stdin>  the file is larger")


def test_bytes_that_are_not_text_are_told_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for data, expected in [
        (b"name: caf\xe9\n", "E102 1:10 byte 0xe9 is not UTF-8"),
        (b"name: a\nseed: \x00", "E102 2:7 the character U+0000 cannot stand in a text file"),
        (b"\xff\xfen\0a\0", "E102 1:1 byte 0xff is not UTF-8"),
        (b"name: \x1b[31mred", "E102 1:7 the character U+001B cannot stand in a text file"),
    ]:
        path.write_bytes(data)
        assert refused_text(path) == expected


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_scenario(path).name == "small"

    path.write_bytes(
        b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").replace("region: west", "region: wst").encode()
    )
    (mistake,) = refused(path)
    assert (mistake.line, mistake.column, mistake.excerpt[-1]) == (7, 26, "}")


# -- YAML --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "E107 0:0 the scenario is empty"),
        ("# nothing\n", "E107 0:0 the scenario is empty"),
        ("- a\n- b\n", "E109 1:1 a scenario is keys and values, not a list"),
        ("just words\n", "E109 1:1 a scenario is keys and values, not a single value"),
        ("name: a\n\tseed: 1\n", "E102 2:1 a tab cannot indent YAML"),
        ("name: a: b\n", "E102 1:8 this is not YAML: mapping values are not allowed here"),
        ("name: [a\n", "E102 2:1 this is not YAML: expected ',' or ']'"),
        ("name: a\n---\nname: b\n", "E104 2:1 a scenario is one document"),
        (
            "name: !!python/object/apply:os.system [echo]\n",
            "E104 1:7 the tag tag:yaml.org,2002:python/object",
        ),
        ("name: &a b\n", "E104 1:7 anchors are not allowed"),
        ("name: *a\n", "E104 1:7 aliases are not allowed"),
        ("<<: {name: a}\n", "E104 1:1 merge keys are not allowed"),
        ("%YAML 9.9\n---\nname: a\n", "E102 1:1 this is not YAML"),
        ("a: " + "[" * 100_000, "E105 1:27 nested deeper than 24 levels"),
        ("{a: " * 100_000, "E105 1:97 nested deeper than 24 levels"),
        ("- " * 100_000, "E105 1:49 nested deeper than 24 levels"),
        ("? " * 100_000, "E105 1:49 nested deeper than 24 levels"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, expected: str) -> None:
    (found,) = told(text)

    assert found.startswith(expected)


def test_an_alias_bomb_is_never_expanded() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for this, last in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]\n"

    assert {line[:4] for line in told(bomb)} == {"E104"}


def test_keys_that_are_no_words_are_refused() -> None:
    text = SMALL + "[a, b]: 1\n? {c: d}\n: 2\n"

    assert [line[:4] for line in told(text)] == ["E109", "E109"]


def test_the_depth_that_scenarios_need_is_far_from_the_bound() -> None:
    depth = max(
        line.count("[") + line.count("{") for path in SHIPPED for line in path.read_text().splitlines()
    )

    assert depth + 6 < DEPTH_MAX


def test_a_file_full_of_mistakes_tells_the_first_hundred() -> None:
    operation = "    - {at: 5 ms, region: west, withdraw: 60.00, account: 1}\n"

    assert len(told(SMALL.replace(operation, operation.replace("west", "wst") * 500))) == 100


# -- what is echoed ------------------------------------------------------------------------------------------


def test_control_characters_and_markup_are_never_echoed() -> None:
    text = SMALL.replace("region: west", 'region: "[red]\\x1b[31m\\u202ewest\\x07"')

    output = render(mistakes_in(text))

    assert "[red]" in output
    assert r"\x1b[31m\u202ewest\x07" in output
    assert all(char.isprintable() or char == "\n" for char in output)


def test_names_keep_what_looks_like_markup() -> None:
    name = "<script>alert(1)</script> [red] {{7*7}} | `x`"

    assert read(SMALL.replace("name: small", f"name: '{name}'")).name == name


def test_a_name_with_a_control_character_is_refused() -> None:
    (found,) = told(SMALL.replace("name: small", 'name: "a\\x1bb"'))

    assert found == "E110 1:7 the text holds the control character U+001B | remove it"


def test_braces_in_a_value_are_not_taken_for_placeholders() -> None:
    (found,) = told(SMALL.replace("region: west", "region: '{message}{0}'"))

    assert '"{message}{0}"' in found


def test_carets_stand_under_wide_and_escaped_characters() -> None:
    output = render(mistakes_in(SMALL.replace("name: small", "seed: 日本\u200b\nname: small")))

    # Two characters of two cells each, and an invisible one that is written as six.
    assert output.splitlines()[1:3] == [r" 1 | seed: 日本\u200b", "   |       ^^^^^^^^^^ write it like 1"]


def test_a_long_line_is_cut_around_the_mistake() -> None:
    text = SMALL.replace("region: west", " " * 4000 + "region: wst")

    lines = render(mistakes_in(text)).splitlines()

    assert all(len(line) < 120 for line in lines)
    assert lines[1].index("wst") == lines[2].index("^^^")


# -- anything --------------------------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [*"\n{}[],'\"#%?\t\\~|>0", "  ", "- ", ": ", "---\n", "9" * 30, "1e999", "-1", ".nan", "null"]
    ),
    st.sampled_from(["&a", "*a", "!!", "<<", "true", "name", "ms", "$1", ":x"]),
)


@given(data=st.data(), path=st.sampled_from(SHIPPED))
def test_any_change_of_a_scenario_ends_in_a_scenario_or_in_mistakes(data: st.DataObject, path: Path) -> None:
    text = path.read_text()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(_PIECES) + text[start + length :]

    for mistake in mistakes_in(text):
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert mistake.code.startswith("E")
        assert not mistake.line or lines[mistake.line - 1] == mistake.excerpt
        assert all(char.isprintable() or char == "\n" for char in render([mistake]))


@given(st.binary(max_size=200))
def test_any_bytes_end_in_mistakes(data: bytes) -> None:
    from arbsim.scenario.source import decode

    with pytest.raises(ScenarioError):
        parse_scenario(decode("x", data), folder=Path())


@given(st.text(max_size=200))
def test_any_text_ends_in_mistakes(text: str) -> None:
    with pytest.raises(ScenarioError):
        parse_scenario(Source("x", text), folder=Path())
