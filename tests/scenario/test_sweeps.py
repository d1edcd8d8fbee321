"""What a sweep varies is read, worked out, or refused with its place."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from arbsim.scenario.models import without_nothing
from arbsim.scenario.parameter_paths import as_texts, number_of, places, resolve, texts_of, with_values
from arbsim.scenario.sweep_check import at_point, varied
from arbsim.scenario.sweeps import MEASURES, Range
from tests.scenario.texts import SHIPPED, SMALL, generated, mistakes_in, read, told

RECIPE = generated(
    "operations: 20, arrivals: {rate: 20/s}, accounts: {distribution: zipf}, amounts: {fixed: 5.00},"
    " mix: {withdraw: 100 %}"
)


def swept(vary: str, text: str = RECIPE) -> list[str]:
    return told(f"{text}sweep: {{vary: {{{vary}}}}}\n")


def data_of(text: str = RECIPE) -> dict[str, Any]:
    written = without_nothing(read(text).model_dump(mode="json", by_alias=True))
    data: dict[str, Any] = as_texts(written)
    return data


def values(vary: str, text: str = RECIPE) -> dict[str, tuple[str, ...]]:
    spec = read(f"{text}sweep: {{vary: {{{vary}}}}}\n").sweep
    assert spec is not None
    return {one.place.path: one.texts for one in varied(data_of(text), spec)}


def test_a_list_is_taken_as_it_is_written() -> None:
    assert values("kafka.mirror_lag: [5 ms, 40 ms]") == {"kafka.mirror_lag": ("5 ms", "40 ms")}


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("kafka.mirror_lag: {from: 0 ms, to: 80 ms, steps: 5}", ("0 ms", "20 ms", "40 ms", "60 ms", "80 ms")),
        (
            "kafka.mirror_lag: {from: 5 ms, to: 80 ms, steps: 5, scale: log}",
            ("5 ms", "10 ms", "20 ms", "40 ms", "80 ms"),
        ),
        ("workload.rate: {from: 1/s, to: 100/s, steps: 3, scale: log}", ("1/s", "10/s", "100/s")),
        ("workload.rate: {from: 60/min, to: 4/s, steps: 3}", ("60/min", "2.5/s", "4/s")),
        ("workload.zipf: {from: 0, to: 1, steps: 3}", ("0", "0.5", "1")),
        ("network.jitter: {from: 0 %, to: 50 %, steps: 3}", ("0 %", "25 %", "50 %")),
        ("accounts.balance: {from: 10.00, to: 20.00, steps: 3}", ("10.00", "15.00", "20.00")),
        ("workload.operations: {from: 10, to: 1000, steps: 3, scale: log}", ("10", "100", "1000")),
    ],
)
def test_a_range_has_equal_differences_or_equal_ratios(written: str, texts: tuple[str, ...]) -> None:
    (found,) = values(written).values()
    assert found == texts


LAG = places(data_of())["kafka.mirror_lag"]


@given(
    low=st.integers(1, 10**8),
    factor=st.integers(2, 1000),
    steps=st.integers(2, 12),
    scale=st.sampled_from(["linear", "log"]),
)
def test_every_value_of_a_range_lies_in_order_between_its_ends(
    low: int, factor: int, steps: int, scale: str
) -> None:
    span = {"from": f"{low} ns", "to": f"{low * factor} ns", "steps": str(steps), "scale": scale}
    with suppress(PydanticCustomError):  # so many steps do not fit
        texts = texts_of(Range.model_validate(span), LAG)
        _check_range(texts, low, low * factor, steps)


def _check_range(texts: tuple[str, ...], low: int, high: int, steps: int) -> None:
    numbers = [number_of(text, LAG) or 0 for text in texts]
    assert len(texts) == steps
    assert numbers == sorted(set(numbers))
    assert (numbers[0] * 10**6, numbers[-1] * 10**6) == (low, high)


@pytest.mark.parametrize(
    "path", ["workload.rate", "workload.arrivals.rate", "workload.generate.arrivals.rate"]
)
def test_parts_in_the_middle_of_a_path_may_be_left_out(path: str) -> None:
    assert list(values(f"{path}: [1/s]")) == ["workload.generate.arrivals.rate"]


def test_zipf_is_a_short_name_for_the_exponent() -> None:
    assert list(values("workload.zipf: [0.5]")) == ["workload.generate.accounts.exponent"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("designs.db/atomic-update.attempts", "7"),
        ("network.round_trips.east-west", "90 ms"),
        ("workload.operations.2.at", "3 ms"),
        ("accounts.2", "7.00"),
        ("database.dialect", "postgres"),
        ("database.leader", "west"),
        ("regions.west.clients", None),
        ("name", None),
        ("seed", None),
        ("workload.generate.arrivals.rate", None),
    ],
)
def test_what_can_be_varied_is_what_the_scenario_has(path: str, value: str | None) -> None:
    known = places(data_of(SMALL))
    if value is None:
        assert path not in known
    else:
        changed = at_point(data_of(SMALL), {resolve(path, known).keys: value})
        assert changed.describe() != read(SMALL).describe()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_parameter_of_a_shipped_scenario_can_be_written_as_it_is(path: Any) -> None:
    """Setting each place to the text that stands there changes nothing: the paths lead where they say."""
    text = path.read_text(encoding="utf-8")
    data = data_of(text)
    for place in places(data).values():
        there: Any = data
        for key in place.keys if place.keys[0] != "designs" else ():
            there = there[int(key) - 1] if isinstance(there, list) else (there or {}).get(key)
        if isinstance(there, str):
            assert with_values(data, {place.keys: there}) == data


@pytest.mark.parametrize(
    ("vary", "mistake"),
    [
        (
            "kafka.miror_lag: [5 ms]",
            'E103 7:16 no parameter "kafka.miror_lag" | did you mean "kafka.mirror_lag"?',
        ),
        ("workload.rte: [5/s]", 'E103 7:16 no parameter "workload.rte" | did you mean "workload.rate"?'),
        (
            "kafka.mirror_lag: []",
            "E107 7:34 no values | such as [5 ms, 40 ms], or {from: 5 ms, to: 80 ms, steps: 5}",
        ),
        (
            "kafka.mirror_lag: [5 ms, 40]",
            'E110 7:41 "40" has no unit | write "40 ms" (ns, us, ms, s, min, h)',
        ),
        ("kafka.mirror_lag: [5 ms, 5 ms]", "E106 7:41 5 ms stands here twice | "),
        (
            "kafka.mirror_lag: {from: 5 ms, to: 5 ms, steps: 2}",
            "E112 7:34 the range is empty: from is not less than to | write the smaller value first",
        ),
        (
            "kafka.mirror_lag: {from: 0 ms, to: 5 ms, steps: 2, scale: log}",
            "E112 7:34 a log range begins above zero | raise from, or write scale: linear",
        ),
        (
            "kafka.mirror_lag: {from: 5 ns, to: 7 ns, steps: 9}",
            "E112 7:34 so many steps do not fit between 5 ns and 7 ns | use fewer steps",
        ),
        (
            "database.dialect: {from: a, to: b, steps: 2}",
            "E109 7:34 database.dialect has no range | write its values as a list",
        ),
        (
            "workload.rate: [5/s], workload.arrivals.rate: [6/s]",
            "E106 7:38 this is the same parameter as workload.rate | vary it once",
        ),
        ("workload.zipf: [9]", "E111 7:32 a number from 0 to 5 was expected | "),
        ("database.dialect: [oracle]", 'E103 7:35 unknown dialect "oracle" | known: postgres, yugabyte'),
    ],
)
def test_what_cannot_be_varied_is_told_with_its_place(vary: str, mistake: str) -> None:
    assert swept(vary) == [mistake]


def test_mistakes_in_several_parameters_come_all_at_once() -> None:
    assert [found[:4] for found in swept("kafka.liner: [1 ms], kafka.append: [1], workload.zipf: [x]")] == [
        "E103",
        "E110",
        "E110",
    ]


@pytest.mark.parametrize(
    ("block", "start"),
    [
        ("{}", 'E107 7:1 the key "vary" is missing'),
        ("{vary: {}}", "E107 7:15 this is empty"),
        ("{vary: {kafka.linger: [1 ms]}, at_most: 5}", "E112 7:8 at_most means nothing without a precision"),
        (
            "{vary: {kafka.linger: [1 ms]}, precision: 5 %, at_most: 5}",
            "E112 7:8 at_most is less than replications",
        ),
        (
            "{vary: {kafka.linger: [1 ms]}, precision: 0 %}",
            "E111 7:50 a percentage from 0.1 % to 100 % was expected",
        ),
        ("{vary: {kafka.linger: [1 ms]}, replications: 0}", "E111 7:53 a whole number from 1"),
        (
            "{vary: {kafka.linger: [1 ms]}, baseline: db/atomic}",
            'E103 7:49 the scenario lists no design "db/atomic"',
        ),
        ("{vary: {kafka.linger: [1 ms]}, measures: [violatd]}", 'E103 7:50 unknown measure "violatd"'),
    ],
)
def test_a_block_that_cannot_be_used_is_refused(block: str, start: str) -> None:
    (mistake,) = told(f"{RECIPE}sweep: {block}\n")
    assert mistake.startswith(start)


def test_a_combination_that_cannot_stand_is_no_mistake_of_the_file() -> None:
    text = RECIPE.replace("fixed: 5.00", "from: 5.00, to: 9.00")
    vary = "workload.amounts.from: [1.00, 8.00], workload.amounts.to: [7.00, 9.00]"
    assert mistakes_in(f"{text}sweep: {{vary: {{{vary}}}}}\n") == []


def test_without_a_list_everything_is_measured() -> None:
    spec = read(f"{RECIPE}sweep: {{vary: {{kafka.linger: [1 ms]}}}}\n").sweep
    assert spec is not None
    assert spec.measures == MEASURES
    assert (spec.replications, spec.precision) == (100, None)
