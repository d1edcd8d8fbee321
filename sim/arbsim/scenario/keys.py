"""Which keys may stand where, for the hint about an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from arbsim.scenario.entries import SqlDesign, SqlStep, catalogue, parameters_model
from arbsim.scenario.models import AlikeAccounts, Scenario
from arbsim.scenario.values import section_in


def keys_at(path: tuple[int | str, ...], data: Any) -> Iterable[str]:
    """Return the keys that may stand in the mapping at a path; ``data`` is the scenario as it was written."""
    model = _model_at(path, data)
    if model is None:
        return ()
    return [field.alias or name for name, field in model.model_fields.items()]


def meaning_at(path: tuple[int | str, ...], data: Any) -> str:
    """Return what the key at the end of a path means, in one sentence; empty where nothing says it."""
    model = _model_at(path[:-1], data)
    for name, field in model.model_fields.items() if model is not None else ():
        if path[-1] in (name, field.alias):
            return (field.description or "").partition(";")[0]
    return ""


def _model_at(path: tuple[int | str, ...], data: Any) -> type[BaseModel] | None:
    if path[:1] == ("accounts",):
        return AlikeAccounts
    if path[:1] == ("designs",):
        return _entry_model(path, data)
    model: type[BaseModel] = Scenario
    for part in path:
        # What names no field is a place in a list or a key of people's own.
        field = model.model_fields.get(str(part))
        section = section_in(field.annotation) if field is not None else None
        model = section or model
    return model


def _entry_model(path: tuple[int | str, ...], data: Any) -> type[BaseModel] | None:
    if "sql" in path:
        inner = path[path.index("sql") + 1 :]
        if inner[:1] == ("retry",):
            return section_in(SqlDesign.model_fields["retry"].annotation)
        return SqlStep if inner else SqlDesign
    entry = data["designs"][path[1]] if len(path) > 1 else {}
    design = entry.get("design") if isinstance(entry, dict) else None
    return (
        parameters_model(catalogue()[design]) if isinstance(design, str) and design in catalogue() else None
    )
