"""What people write, and what it stands for; nothing else is understood."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from arbsim.model import from_cents
from arbsim.scenario.quantities import (
    CENTS_MAX,
    DAY,
    HOUR,
    MS,
    Duration,
    Exponent,
    Money,
    Name,
    OneOf,
    Percent,
    Quantity,
    Rate,
    S,
    Switch,
    Text,
    Whole,
)


def refusal(quantity: Quantity, text: str) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        quantity.read(text)
    return f"{(caught.value.context or {})['code']} {caught.value.message()}"


@given(st.integers(0, 7 * DAY))
def test_every_duration_survives_writing_and_reading(nanoseconds: int) -> None:
    assert Duration().read(Duration().write(nanoseconds)) == nanoseconds


@given(st.integers(-CENTS_MAX, CENTS_MAX))
def test_every_amount_survives_writing_and_reading(cents: int) -> None:
    assert Money().read(Money().write(cents)) == cents
    assert Decimal(Money().write(cents)) == from_cents(cents)


@given(st.integers(0, 1_000_000))
def test_every_percentage_survives_writing_and_reading(ppm: int) -> None:
    assert Percent().read(Percent().write(ppm)) == ppm


@given(st.decimals(min_value="0.001", max_value=10_000, places=3), st.sampled_from(["s", "min", "h"]))
def test_every_rate_survives_writing_and_reading(number: Decimal, unit: str) -> None:
    rate = Rate().read(f"{number}/{unit}")

    assert Rate().read(Rate().write(rate)) == rate


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for quantity in (Duration(), Money(), Rate(), Percent(), Whole(), Exponent(), Switch(), Text(), Name()):
        try:
            quantity.read(text)
        except PydanticCustomError as error:
            assert (error.context or {})["code"] in ("E107", "E110", "E111")  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("31 ms", 31 * MS),
        ("31ms", 31 * MS),
        ("1.5 s", 1_500 * MS),
        ("200 us", 200_000),
        ("200 µs", 200_000),
        ("7 ns", 7),
        ("2 min", 120 * S),
        ("1 h", HOUR),
        ("0 ms", 0),
    ],
)
def test_durations_have_units(text: str, nanoseconds: int) -> None:
    assert Duration().read(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "ms", "-1 ms", "1 e3 ms", "1e3 ms", "1,5 s", "1  ms", " 1 ms", "١ ms", "1 ms\n", "inf s", "nan s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert refusal(Duration(), text).startswith("E110")


def test_durations_have_bounds() -> None:
    assert refusal(Duration(), "169 h") == "E111 at most 604800 s was expected"
    assert refusal(Duration(at_least=1), "0 s") == "E111 at least 1 ns was expected"
    assert refusal(Duration(), "0.5 ns") == 'E110 "0.5 ns" is not a whole number of nanoseconds'


@pytest.mark.parametrize(
    "text", ["1e999", ".nan", "NaN", "inf", "1.005", "1,00", "+1", "0x10", "--1", "1.", "١"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    assert refusal(Money(), text) == f'E110 "{text}" is not an amount of money'


def test_amounts_are_exact_cents() -> None:
    assert [Money().read(text) for text in ("100.00", "100", "0.1", "-0.01", "-30.00", "010")] == [
        10_000, 10_000, 10, -1, -3_000, 1_000,
    ]  # fmt: skip
    assert refusal(Money(at_least=1), "0.00") == "E111 an amount above zero was expected"
    assert refusal(Money(), "9" * 18) == "E111 at most 9999999999.99 was expected"


def test_rates_are_exact() -> None:
    assert Rate().read("200/s") == 200
    assert Rate().read("40/min") == Fraction(2, 3)
    assert Rate().read("1 / h") == Fraction(1, 3600)
    assert refusal(Rate(), "0/s").startswith("E111")
    assert refusal(Rate(), "40").startswith("E110")


def test_percentages_are_parts_per_million() -> None:
    assert [Percent().read(text) for text in ("5 %", "0.5%", "100 %", "33.3333 %")] == [
        50_000, 5_000, 1_000_000, 333_333,
    ]  # fmt: skip
    assert refusal(Percent(), "101 %") == "E111 a percentage from 0 % to 100 % was expected"
    assert refusal(Percent(), "5").startswith("E110")
    assert refusal(Percent(), "0.00001 %") == 'E110 "0.00001 %" has more than four digits after the point'


def test_whole_numbers_are_written_in_digits_alone() -> None:
    assert Whole().read("42") == 42
    for text in ("4_2", "4.0", "0x2a", "1e3", "", "٤", "9" * 20):
        assert refusal(Whole(), text).startswith("E110")
    assert refusal(Whole(), "9" * 19).startswith("E111")


def test_words_are_taken_from_a_list() -> None:
    dialect = OneOf("dialect", ("postgres", "yugabyte"))

    assert dialect.read("postgres") == "postgres"
    assert refusal(dialect, "Postgres") == 'E103 unknown dialect "Postgres"'


def test_only_true_and_false_are_switches() -> None:
    assert (Switch().read("true"), Switch().read("false")) == (True, False)
    for text in ("yes", "no", "on", "True", "1", ""):
        assert refusal(Switch(), text).startswith("E110")
