"""The parameters of a scenario by their places: ``kafka.mirror_lag``, ``designs.bus/single-writer.linger``.

A scenario is plain data with a text in each place (what stood in the file, or what ``Scenario.describe`` gives
back), so another value is another text in that place, judged by the same models as everything else.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arbsim.scenario.entries import SqlDesign, catalogue, parameters_model
from arbsim.scenario.mistakes import listed, nearest
from arbsim.scenario.models import Scenario
from arbsim.scenario.quantities import Duration, Exponent, Money, Percent, Quantity, Rate, Whole, fault
from arbsim.scenario.sweeps import Range
from arbsim.scenario.values import section_in

SECTIONS = ("network", "database", "kafka", "cdc", "workload")
SHORT = {"workload.zipf": ("workload", "generate", "accounts", "exponent")}
"""Names by which people know a parameter, beside its place."""

Keys = tuple[str, ...]
Numeric = Duration | Money | Percent | Rate | Whole | Exponent


@dataclass(frozen=True)
class Place:
    """One parameter: the keys that lead to it, and how its values are written (None: a word)."""

    keys: Keys
    quantity: Quantity | None

    @property
    def path(self) -> str:
        """Its full name."""
        return ".".join(self.keys)


# -- which there are -------------------------------------------------------------------------------------


def places(data: Mapping[str, Any]) -> dict[str, Place]:
    """Return every parameter that a scenario can vary, by its full name."""
    found: list[Place] = []
    for section in SECTIONS:
        model = section_in(Scenario.model_fields[section].annotation)
        assert model is not None
        found += _in_section((section,), model, data.get(section))
    found += _accounts(data.get("accounts"))
    for entry in data.get("designs") or ():
        found += _design(entry)
    return {place.path: place for place in found}


def _in_section(keys: Keys, model: type[BaseModel], data: Any) -> Iterator[Place]:
    given = data if isinstance(data, dict) else {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        here = (*keys, key)
        value = given.get(key)
        section = section_in(field.annotation)
        if section is not None and _is_exclusive(model) and value is None:
            continue  # a form of workload that this scenario has not chosen
        if section is None:
            yield from _values(here, field, value)
        elif isinstance(value, list):
            for number, item in enumerate(value, 1):
                yield from _in_section((*here, str(number)), section, item)
        elif _is_mapping(field.annotation):
            for word, item in (value if isinstance(value, dict) else {}).items():
                yield from _in_section((*here, word), section, item)
        else:
            yield from _in_section(here, section, value)


def _values(here: Keys, field: FieldInfo, value: Any) -> Iterator[Place]:
    """Yield a single value, or each value of a mapping such as a table of round trips."""
    round_trips = here == ("network", "round_trips")
    if isinstance(value, dict):
        inner = Duration() if round_trips else _mapped_quantity(field.annotation)
        yield from (Place((*here, word), inner) for word in value)
    elif round_trips:
        yield Place(here, None)
    elif not _is_mapping(field.annotation):
        quantity = _quantity_of(field.annotation, field.metadata)
        if quantity is not None and typing.get_origin(field.annotation) is not tuple:
            yield Place(here, quantity)


def _is_exclusive(model: type[BaseModel]) -> bool:
    return {"operations", "generate", "trace"} == set(model.model_fields)


def _accounts(data: Any) -> Iterator[Place]:
    if not isinstance(data, dict):
        return
    if "count" in data:
        yield Place(("accounts", "count"), Whole(at_least=1))
        yield Place(("accounts", "balance"), Money(at_least=0))
    else:
        yield from (Place(("accounts", str(account)), Money(at_least=0)) for account in data)


def _design(entry: Any) -> Iterator[Place]:
    name = entry_name(entry)
    if isinstance(entry, dict) and isinstance(entry.get("sql"), dict):
        yield from _in_section(("designs", name, "sql"), SqlDesign, entry["sql"])
        return
    design = entry.get("design") if isinstance(entry, dict) else entry
    known = catalogue()
    if isinstance(design, str) and " ".join(design.split()) in known:
        model = parameters_model(known[" ".join(design.split())])
        for place in _in_section(("designs", name), model, {}):
            if place.keys[-1] not in ("name", "design"):
                yield place


def entry_name(entry: Any) -> str:
    """Return the name under which an entry of ``designs`` is reported."""
    name = (entry.get("name") or entry.get("design")) if isinstance(entry, dict) else entry
    return " ".join(str(name).split())


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is dict or any(map(_is_mapping, typing.get_args(annotation)))


def _quantity_of(annotation: Any, metadata: typing.Sequence[Any] = ()) -> Quantity | None:
    """Return the parser of a field; for an optional one it stands inside the union."""
    for mark in metadata:
        if isinstance(mark, Quantity):
            return mark
    for part in typing.get_args(annotation):
        found = part if isinstance(part, Quantity) else _quantity_of(part, getattr(part, "__metadata__", ()))
        if found is not None:
            return found
    return None


def _mapped_quantity(annotation: Any) -> Quantity | None:
    """Return the parser of a mapping's values."""
    if typing.get_origin(annotation) is dict:
        value = typing.get_args(annotation)[1]
        return _quantity_of(value, getattr(value, "__metadata__", ()))
    return next(filter(None, map(_mapped_quantity, typing.get_args(annotation))), None)


# -- what a path means ---------------------------------------------------------------------------------------


def resolve(path: str, known: Mapping[str, Place]) -> Place:
    """Return the parameter that a path names: its full name, or one with parts in the middle left out.

    Raises the scenario's error, with the nearest name.
    """
    path = ".".join(part.strip() for part in path.split("."))
    if path in known:
        return known[path]
    if path in SHORT and ".".join(SHORT[path]) in known:
        return known[".".join(SHORT[path])]
    parts = path.split(".")
    meant = [place for place in known.values() if len(parts) > 1 and _abbreviates(parts, place.keys)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise fault(
            "E103", f'"{path[:80]}" can mean more than one parameter', listed(one.path for one in meant)
        )
    names = _names(known)
    alike = [name for name in names if name.startswith(parts[0] + ".")]
    raise fault("E103", f'no parameter "{path[:80]}"', nearest(path, alike or names))


def _abbreviates(parts: list[str], keys: Keys) -> bool:
    """Whether the parts are the first and the last key, with some of those between, in order."""
    if parts[0] != keys[0] or parts[-1] != keys[-1]:
        return False
    rest = iter(keys[1:-1])
    return all(part in rest for part in parts[1:-1])


def _names(known: Mapping[str, Place]) -> list[str]:
    """Full and short names, the short ones first: they are what people mistype."""
    short = [f"{place.keys[0]}.{place.keys[-1]}" for place in known.values() if len(place.keys) > 2]
    return [*(name for name, keys in SHORT.items() if ".".join(keys) in known), *short, *known]


def texts_of(values: tuple[str, ...] | Range, place: Place) -> tuple[str, ...]:
    """Return a parameter's values as texts. Raises the scenario's error where a range has none."""
    if not isinstance(values, Range):
        return values
    quantity = place.quantity
    if not isinstance(quantity, Numeric):
        raise fault("E109", f"{place.path} has no range", "write its values as a list")
    first, last = (_number(quantity, text) for text in (values.from_, values.to))
    if first >= last:
        raise fault("E112", "the range is empty: from is not less than to", "write the smaller value first")
    if values.scale == "log" and first <= 0:
        raise fault("E112", "a log range begins above zero", "raise from, or write scale: linear")
    write: Callable[[Any], Any] = quantity.write
    inner = (_between(quantity, first, last, step, values) for step in range(1, values.steps - 1))
    texts = [values.from_, *(str(write(value)) for value in inner), values.to]
    numbers = [_number(quantity, text) for text in texts]
    if any(after <= before for before, after in pairwise(numbers)):
        raise fault(
            "E112", f"so many steps do not fit between {values.from_} and {values.to}", "use fewer steps"
        )
    return tuple(texts)


def number_of(text: str, place: Place) -> Decimal | None:
    """Return a value as a number: milliseconds, percent, money, per second; None where it is a word."""
    if not isinstance(place.quantity, Numeric):
        return None
    return _number(place.quantity, text) / _UNIT.get(type(place.quantity), 1)


_UNIT: dict[type[Quantity], int] = {Duration: 1_000_000, Percent: 10_000, Money: 100}


def _number(quantity: Quantity, text: str) -> Decimal:
    value = quantity.read(text)
    if isinstance(value, Fraction):
        return Decimal(value.numerator) / Decimal(value.denominator)
    return Decimal(value)


def _between(
    quantity: Quantity, first: Decimal, last: Decimal, step: int, values: Range
) -> Decimal | Fraction | int:
    """Return a value inside a range, in whole units where the parameter has them; decimal, so exact everywhere."""
    part = Decimal(step) / Decimal(values.steps - 1)
    if values.scale == "log":
        precise = Context(prec=28)
        exact = precise.exp(precise.ln(first) + (precise.ln(last) - precise.ln(first)) * part)
        exact = Context(prec=3).plus(exact)
    else:
        exact = Context(prec=9).plus(first + (last - first) * part)
    if isinstance(quantity, Rate):
        return Fraction(exact)
    return exact if isinstance(quantity, Exponent) else int(exact.to_integral_value())


# -- another value in a place --------------------------------------------------------------------------------


def with_values(data: Mapping[str, Any], values: Mapping[Keys, str]) -> dict[str, Any]:
    """Return a scenario's data with other texts in some places; what is not there yet is added."""
    changed = dict(data)
    copied: set[str] = set()
    for keys, text in values.items():
        if keys[0] not in copied:
            changed[keys[0]] = copy.deepcopy(changed.get(keys[0]))
            copied.add(keys[0])
        if keys[0] == "designs":
            _set_in_design(changed["designs"], keys[1], keys[2:], text)
        else:
            changed[keys[0]] = _set(changed[keys[0]], keys[1:], text)
    return changed


def _set_in_design(entries: list[Any], name: str, keys: Keys, text: str) -> None:
    for index, entry in enumerate(entries):
        if entry_name(entry) == name:
            written = entry if isinstance(entry, dict) else {"design": entry}
            entries[index] = _set(written, keys, text)


def _set(data: Any, keys: Keys, text: str) -> Any:
    if not keys:
        return text
    if isinstance(data, list):
        data[int(keys[0]) - 1] = _set(data[int(keys[0]) - 1], keys[1:], text)
        return data
    data = data if isinstance(data, dict) else {}
    data[keys[0]] = _set(data.get(keys[0]), keys[1:], text)
    return data


def as_texts(value: Any) -> Any:
    """Return plain data as YAML would have given it: every value a text."""
    if isinstance(value, dict):
        return {str(key): as_texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_texts(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None else str(value)
