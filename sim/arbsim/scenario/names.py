"""The names that a scenario defines, gathered before anything is judged.

So a reference can be checked where it stands, in the same pass as everything else, also when the place that
defines the name has mistakes of its own.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationInfo

from arbsim.scenario.mistakes import nearest
from arbsim.scenario.presets import DEFAULT_PRESET, PRESETS, locations
from arbsim.scenario.quantities import fault

ACCOUNTS_MAX = 1_000_000
_NUMBER = re.compile("[0-9]{1,19}")


@dataclass(frozen=True)
class Names:
    """What references can refer to.

    ``regions`` is empty and ``accounts`` is None where they cannot be made out; then nothing is held against a
    reference to one.
    """

    regions: tuple[str, ...]
    client_regions: tuple[str, ...]
    preset: str | None
    """The preset of round trips; None where the scenario has a table of its own."""
    accounts: Container[int] | None
    designs: tuple[str, ...]
    operations: int | None = None
    """How many operations there are, or None where that cannot be made out."""
    trace: Any = None
    """What the trace file held, or None."""

    @classmethod
    def gather(cls, data: dict[str, Any]) -> Names:
        """Gather the names from the plain data of a scenario, whatever else is wrong with it."""
        raw_regions = data.get("regions")
        regions = raw_regions if isinstance(raw_regions, dict) else {}
        details = {name: value if isinstance(value, dict) else {} for name, value in regions.items()}
        return cls(
            regions=tuple(regions),
            client_regions=tuple(name for name in regions if details[name].get("clients") != "false"),
            preset=_preset(data.get("network")),
            accounts=_accounts(data.get("accounts")),
            designs=tuple(dict.fromkeys(_design_names(data.get("designs")))),
            operations=_operations(data.get("workload")),
        )


def _preset(raw: Any) -> str | None:
    given = raw.get("round_trips", DEFAULT_PRESET) if isinstance(raw, dict) else DEFAULT_PRESET
    return given if isinstance(given, str) and given in PRESETS else None


def _accounts(raw: Any) -> Container[int] | None:
    if not isinstance(raw, dict):
        return None
    if "count" in raw:
        count = raw["count"]
        if not isinstance(count, str) or _NUMBER.fullmatch(count) is None or int(count) > ACCOUNTS_MAX:
            return None
        return range(1, int(count) + 1)
    return frozenset(map(int, raw)) if raw and all(map(_NUMBER.fullmatch, raw)) else None


def _operations(raw: Any) -> int | None:
    if not isinstance(raw, dict):
        return None
    listed, recipe = raw.get("operations"), raw.get("generate")
    count = recipe.get("operations") if isinstance(recipe, dict) else None
    if isinstance(count, str) and _NUMBER.fullmatch(count):
        return int(count)
    return len(listed) if isinstance(listed, list) else None


def _design_names(raw: Any) -> list[str]:
    names = []
    for entry in raw if isinstance(raw, list) else ():
        name = entry.get("name", entry.get("design")) if isinstance(entry, dict) else entry
        if isinstance(name, str):
            names.append(" ".join(name.split()))
    return names


def names_of(info: ValidationInfo) -> Names | None:
    """Return the scenario's names, or None where a model is validated by itself."""
    return info.context if isinstance(info.context, Names) else None


def known_location(place: str, info: ValidationInfo) -> str:
    """Check that the preset of round trips, where one is used, knows a location."""
    names = names_of(info)
    if names is not None and names.preset is not None and place not in locations(names.preset):
        message = f'the round trips of {names.preset} do not know the location "{place}"'
        raise fault("E103", message, nearest(place, locations(names.preset)))
    return place


def known_region(name: str, info: ValidationInfo) -> str:
    """Check that a region exists."""
    names = names_of(info)
    if names is not None and names.regions and name not in names.regions:
        raise fault("E103", f'unknown region "{name}"', nearest(name, names.regions))
    return name


def client_region(name: str, info: ValidationInfo) -> str:
    """Check that a region exists and has clients."""
    known_region(name, info)
    names = names_of(info)
    if names is not None and names.client_regions and name not in names.client_regions:
        hint = f"regions with clients: {', '.join(names.client_regions)}"
        raise fault("E112", f'the region "{name}" has no clients (clients: false)', hint)
    return name


def known_account(account: int, info: ValidationInfo) -> int:
    """Check that an account was opened."""
    names = names_of(info)
    if names is not None and names.accounts is not None and account not in names.accounts:
        raise fault("E103", f"account {account} was not opened", f"accounts: {_told(names.accounts)}")
    return account


def known_operation(number: int, info: ValidationInfo) -> int:
    """Check that the workload has an operation of this number."""
    names = names_of(info)
    if names is not None and names.operations is not None and number > names.operations:
        raise fault("E103", f"there is no operation {number}", f"operations: 1 to {names.operations}")
    return number


def known_design(name: str, info: ValidationInfo) -> str:
    """Check that the scenario lists a design."""
    names = names_of(info)
    if names is not None and name not in names.designs:
        raise fault("E103", f'the scenario lists no design "{name[:60]}"', nearest(name, names.designs))
    return name


def _told(accounts: Container[int]) -> str:
    if isinstance(accounts, range):
        return f"1 to {len(accounts)}"
    known = sorted(accounts) if isinstance(accounts, frozenset) else []
    return ", ".join(map(str, known[:10])) + (" ..." if len(known) > 10 else "")
