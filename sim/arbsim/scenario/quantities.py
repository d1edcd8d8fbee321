"""How people write values: durations, money, rates, percentages, counts, names. Nothing else is understood.

Each kind of value is an object that reads a text, writes it back in one way, and describes itself to editors.
pydantic uses it as an annotation: ``Annotated[int, Duration()]``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import PydanticCustomError, core_schema

from arbsim.scenario.mistakes import listed, nearest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

NS = 1
US = 1_000
MS = 1_000_000
S = 1_000_000_000
MINUTE = 60 * S
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"ns": NS, "us": US, "µs": US, "μs": US, "ms": MS, "s": S, "min": MINUTE, "h": HOUR}
_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(rf"({_NUMBER}) ?(ns|us|µs|μs|ms|s|min|h)")
_RATE = re.compile(rf"({_NUMBER}) ?/ ?(s|min|h)")
_PERCENT = re.compile(rf"({_NUMBER}) ?%")
_MONEY = re.compile(r"(-?[0-9]{1,18})(?:\.([0-9]{1,2}))?")
_WHOLE = re.compile(r"-?[0-9]{1,19}")

CENTS_MAX = 10**12 - 1
"""The largest amount that NUMERIC(12,2) holds: 9,999,999,999.99."""

INT64_MAX = 2**63 - 1


def fault(code: str, message: str, hint: str = "") -> PydanticCustomError:
    """Return the error that says what is wrong with one value; ``code`` is one of mistakes.CODES."""
    # The message goes in as data: a brace in it must not be taken for a placeholder.
    return PydanticCustomError("scenario", "{message}", {"code": code, "message": message, "hint": hint})


class Quantity(ABC):
    """One kind of value."""

    what: ClassVar[str] = "a value"
    """Named in messages: "a duration was expected"."""
    example: ClassVar[str] = ""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value that a text stands for. Raises PydanticCustomError."""

    @abstractmethod
    def write(self, value: Any) -> Any:
        """Return the text (or whole number) that ``read`` takes back to the same value."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what people write."""

    def badly_written(self, text: str) -> PydanticCustomError:
        """Return the error for a text that is not of this kind."""
        return fault("E110", f'"{text[:60]}" is not {self.what}', f"write it like {self.example}")

    def check(self, value: Any) -> Any:
        """Take what YAML had in this place: a text, or something that is no text at all."""
        if value is None:
            raise fault("E107", f"a value is missing: {self.what} was expected", f"such as {self.example}")
        if not isinstance(value, str):
            have = "a list" if isinstance(value, list) else "a mapping"
            raise fault("E109", f"{have} stands where {self.what} was expected", f"such as {self.example}")
        return self.read(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Let pydantic read and write values of this kind."""
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the value to editors."""
        return self.schema()


@dataclass(frozen=True)
class Duration(Quantity):
    """A length of time, in whole nanoseconds."""

    at_least: int = 0
    at_most: int = 7 * DAY
    what = "a duration"
    example = "31 ms"

    def read(self, text: str) -> int:
        """Return nanoseconds."""
        match = _DURATION.fullmatch(text)
        if match is None:
            if re.fullmatch(_NUMBER, text):
                raise fault("E110", f'"{text}" has no unit', f'write "{text} ms" (ns, us, ms, s, min, h)')
            raise self.badly_written(text)
        nanoseconds = Decimal(match[1]) * _UNITS[match[2]]
        if nanoseconds != int(nanoseconds):
            raise fault("E110", f'"{text}" is not a whole number of nanoseconds')
        return self._within(int(nanoseconds))

    def _within(self, nanoseconds: int) -> int:
        if nanoseconds < self.at_least:
            raise fault("E111", f"at least {self.write(self.at_least)} was expected")
        if nanoseconds > self.at_most:
            raise fault("E111", f"at most {self.write(self.at_most)} was expected")
        return nanoseconds

    def write(self, value: int) -> str:
        """Write milliseconds, seconds from one second on, nanoseconds below one microsecond, without loss."""
        unit, size = ("s", S) if value >= S or value == 0 else ("ms", MS) if value >= US else ("ns", NS)
        return f"{plain_decimal(Decimal(value) / size)} {unit}"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a duration."""
        return {"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": [self.example]}


@dataclass(frozen=True)
class Money(Quantity):
    """An amount of money, in whole cents."""

    at_least: int = -CENTS_MAX
    at_most: int = CENTS_MAX
    what = "an amount of money"
    example = "100.00"

    def read(self, text: str) -> int:
        """Return cents."""
        match = _MONEY.fullmatch(text)
        if match is None:
            raise self.badly_written(text)
        cents = abs(int(match[1])) * 100 + int((match[2] or "0").ljust(2, "0"))
        if text.startswith("-"):
            cents = -cents
        if cents < self.at_least:
            least = "an amount above zero" if self.at_least == 1 else f"at least {self.write(self.at_least)}"
            raise fault("E111", f"{least} was expected")
        if cents > self.at_most:
            raise fault("E111", f"at most {self.write(self.at_most)} was expected")
        return cents

    def write(self, value: int) -> str:
        """Write an amount with two digits after the point."""
        whole, cents = divmod(abs(value), 100)
        return f"{'-' if value < 0 else ''}{whole}.{cents:02}"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an amount: YAML reads 100.00 as a number, "100.00" as a text."""
        number: dict[str, Any] = {"type": ["number", "string"], "pattern": f"^{_MONEY.pattern}$"}
        if self.at_least == 1:
            number["exclusiveMinimum"] = 0
        elif self.at_least == 0:
            number["minimum"] = 0
        return number


@dataclass(frozen=True)
class Rate(Quantity):
    """How often something happens, as an exact fraction per second."""

    at_most: int = 1_000_000
    what = "a rate"
    example = "40/s"

    def read(self, text: str) -> Fraction:
        """Return how often a second."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise self.badly_written(text)
        rate = Fraction(match[1]) * S / _UNITS[match[2]]
        if not 0 < rate <= self.at_most:
            raise fault("E111", f"a rate above 0/s and at most {self.at_most:,}/s was expected")
        return rate

    def write(self, value: Fraction) -> str:
        """Write a rate in the first unit in which it has a finite number of digits."""
        for unit in ("s", "min", "h"):
            digits = value * _UNITS[unit] / S * 10**9
            if digits.denominator == 1:
                return f"{plain_decimal(Decimal(digits.numerator).scaleb(-9))}/{unit}"
        raise ValueError(f"{value} per second cannot be written")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a rate."""
        return {"type": "string", "pattern": f"^{_RATE.pattern}$", "examples": [self.example]}


@dataclass(frozen=True)
class Percent(Quantity):
    """A share, in parts per million."""

    at_least: int = 0
    at_most: int = 1_000_000
    what = "a percentage"
    example = "5 %"

    def read(self, text: str) -> int:
        """Return parts per million."""
        match = _PERCENT.fullmatch(text)
        if match is None:
            raise self.badly_written(text)
        ppm = Decimal(match[1]) * 10_000
        if ppm != int(ppm):
            raise fault("E110", f'"{text}" has more than four digits after the point')
        if not self.at_least <= ppm <= self.at_most:
            bounds = f"{self.write(self.at_least)} to {self.write(self.at_most)}"
            raise fault("E111", f"a percentage from {bounds} was expected")
        return int(ppm)

    def write(self, value: int) -> str:
        """Write a percentage."""
        return f"{plain_decimal(Decimal(value) / 10_000)} %"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a percentage."""
        return {"type": "string", "pattern": f"^{_PERCENT.pattern}$", "examples": [self.example]}


@dataclass(frozen=True)
class Whole(Quantity):
    """A whole number within bounds."""

    at_least: int = 0
    at_most: int = INT64_MAX
    what = "a whole number"

    @property
    def example(self) -> str:  # type: ignore[override]
        """A number that would do."""
        return str(max(self.at_least, 1))

    def read(self, text: str) -> int:
        """Return the number."""
        if _WHOLE.fullmatch(text) is None:
            raise self.badly_written(text)
        number = int(text)
        if not self.at_least <= number <= self.at_most:
            bounds = f"{self.at_least} to {self.at_most}"
            raise fault("E111", f"a whole number from {bounds} was expected")
        return number

    def write(self, value: int) -> int:
        """Return the number itself."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the number."""
        return {"type": "integer", "minimum": self.at_least, "maximum": self.at_most}


@dataclass(frozen=True)
class Exponent(Quantity):
    """A small number with a fraction, kept exact."""

    at_most: int = 5
    what = "a number"
    example = "0.99"

    def read(self, text: str) -> Decimal:
        """Return the number."""
        if re.fullmatch(_NUMBER, text) is None:
            raise self.badly_written(text)
        number = Decimal(text)
        if number > self.at_most:
            raise fault("E111", f"a number from 0 to {self.at_most} was expected")
        return number

    def write(self, value: Decimal) -> str:
        """Write the number with all digits that matter."""
        return plain_decimal(value)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the number."""
        return {"type": ["number", "string"], "minimum": 0, "maximum": self.at_most}


@dataclass(frozen=True)
class Switch(Quantity):
    """Yes or no."""

    what = "true or false"
    example = "true"

    def read(self, text: str) -> bool:
        """Return the truth value."""
        if text not in ("true", "false"):
            raise fault("E110", f'"{text[:60]}" is not {self.what}')
        return text == "true"

    def write(self, value: bool) -> bool:
        """Return the truth value itself."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a truth value."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text(Quantity):
    """Text for people or, where ``lines`` are allowed, for a database. Control characters are refused."""

    at_most: int = 200
    lines: bool = False
    what = "a text"
    example = '"a few words"'

    def read(self, text: str) -> str:
        """Return the text, in one line where lines are not allowed."""
        kept = text.strip() if self.lines else " ".join(text.split())
        if not kept:
            raise fault("E107", "the text is empty")
        if len(kept) > self.at_most:
            raise fault("E111", f"a text of at most {self.at_most:,} characters was expected")
        for char in kept:
            if not char.isprintable() and not (self.lines and char in "\n\t"):
                raise fault("E110", f"the text holds the control character U+{ord(char):04X}", "remove it")
        return kept

    def write(self, value: str) -> str:
        """Return the text itself."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a text."""
        return {"type": ["string", "number", "boolean"], "minLength": 1, "maxLength": self.at_most}


@dataclass(frozen=True)
class Name(Quantity):
    """A word that can stand in a topic's name: a region, a location."""

    what = "a name"
    example = "east"
    pattern: ClassVar[str] = "[A-Za-z][A-Za-z0-9_-]{0,39}"

    def read(self, text: str) -> str:
        """Return the name."""
        if re.fullmatch(self.pattern, text) is None:
            raise fault(
                "E110",
                f'"{text[:60]}" is not a name',
                "write a letter, then at most 39 letters, digits, hyphens or underscores",
            )
        return text

    def write(self, value: str) -> str:
        """Return the name itself."""
        return value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a name."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True)
class OneOf(Quantity):
    """One of a few words: ``Annotated[Dialect, OneOf("dialect", get_args(Dialect))]``."""

    label: str
    words: tuple[str, ...]

    def check(self, value: Any) -> str:
        """Take what YAML had in this place."""
        if not isinstance(value, str):
            raise fault(
                "E107" if value is None else "E109", f"a {self.label} was expected", listed(self.words)
            )
        return self.read(value)

    def read(self, text: str) -> str:
        """Return the word."""
        if text not in self.words:
            raise fault("E103", f'unknown {self.label} "{text[:60]}"', nearest(text, self.words))
        return text

    def write(self, value: str) -> str:
        """Return the word itself."""
        return str(value)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the word."""
        return {"enum": list(self.words)}


def plain_decimal(number: Decimal) -> str:
    """Write a number without an exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
