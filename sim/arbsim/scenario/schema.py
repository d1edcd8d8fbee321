"""The JSON Schema of scenarios, for editors: completion, hover texts, and a mark under what is wrong.

Draft-07, because that is what the YAML language servers of editors know. It cannot say everything that
loading checks (references, sums of shares): it is an aid, loading decides.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from arbsim.model import Fate, Kind
from arbsim.scenario.entries import SqlDesign, catalogue, parameters_model
from arbsim.scenario.expectations import CountRange
from arbsim.scenario.models import Scenario
from arbsim.scenario.quantities import Money, Text, Whole

SCHEMA_FILE = "scenario.schema.json"
_OPENING = Money(at_least=0)
_FINAL = Money()


def scenario_schema() -> dict[str, Any]:
    """Return the schema, with the parameters of every shipped design."""
    schema = _of(Scenario)
    definitions = schema.pop("definitions")
    for name, model in (("SqlDesign", SqlDesign), ("CountRange", CountRange)):
        part = _of(model)
        definitions |= part.pop("definitions", {})
        definitions[name] = part
    definitions["Count"] = {"anyOf": [Whole().schema(), {"$ref": "#/definitions/CountRange"}]}
    properties = schema["properties"]
    properties["accounts"] |= _accounts()
    properties["designs"]["items"] = _entries()
    _loosen_shorthands(definitions["Expectation"]["properties"])
    for mixed in ("Recipe", "RegionLoad"):
        _name_keys(definitions[mixed]["properties"]["mix"], [kind.value for kind in Kind])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An arbsim scenario",
        "description": "Regions, accounts, a workload, and the designs that are to be compared on it.",
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
        "definitions": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """Return the schema as the file that lies beside the scenarios."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


class _Draft07(GenerateJsonSchema):
    """pydantic's schema without titles, which only repeat the keys, and without models' docstrings."""

    def get_title_from_name(self, name: str) -> str:
        return ""


def _of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's schema in the words of draft-07."""
    schema = model.model_json_schema(schema_generator=_Draft07)
    text = json.dumps(schema).replace("#/$defs/", "#/definitions/")
    moved: dict[str, Any] = json.loads(text)
    if "$defs" in moved:
        moved["definitions"] = moved.pop("$defs")
    cleaned: dict[str, Any] = _clean(moved)
    return cleaned


def _clean(value: Any, *, names: bool = False) -> Any:
    """Drop empty titles, defaults (they are internal values) and the null of optional keys."""
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if not isinstance(value, dict):
        return value
    if names:
        return {key: _clean(item) for key, item in value.items()}
    kept = {
        key: _clean(item, names=key in ("properties", "definitions"))
        for key, item in value.items()
        if key not in ("title", "default")
    }
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    options = kept.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del kept["anyOf"]
        # Beside a $ref draft-07 ignores everything else, so a description needs the long form.
        kept |= rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"allOf": rest}
    elif "$ref" in kept and len(kept) > 1:
        kept["allOf"] = [{"$ref": kept.pop("$ref")}]
    return kept


def _accounts() -> dict[str, Any]:
    """Describe accounts one by one, or many that are alike."""
    listed = {
        "type": "object",
        "patternProperties": {"^[0-9]+$": _OPENING.schema()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    alike = {
        "type": "object",
        "properties": {"count": Whole(at_least=1, at_most=1_000_000).schema(), "balance": _OPENING.schema()},
        "required": ["count", "balance"],
        "additionalProperties": False,
    }
    return {"anyOf": [listed, alike]}


def _entries() -> dict[str, Any]:
    """Describe an item of ``designs``: a name, a design with parameters, or a team's own SQL."""
    shipped = catalogue()
    names = [
        {"const": name, "description": str(getattr(design, "summary", ""))}
        for name, design in shipped.items()
    ]
    with_parameters = []
    for name, design in shipped.items():
        entry = _of(parameters_model(design))
        entry["properties"]["design"] = {"const": name}
        entry["description"] = str(getattr(design, "summary", ""))
        with_parameters.append(entry)
    own = {
        "type": "object",
        "description": "Your own transaction, in SQL.",
        "properties": {"name": Text(at_most=100).schema(), "sql": {"$ref": "#/definitions/SqlDesign"}},
        "required": ["name", "sql"],
        "additionalProperties": False,
    }
    return {"anyOf": [*names, *with_parameters, own]}


def _loosen_shorthands(properties: dict[str, Any]) -> None:
    """Let expectations be written short: a count as a number, a list of one as the thing itself."""
    count = {"$ref": "#/definitions/Count"}
    fate = {"enum": [fate.value for fate in Fate]}
    balances = {"anyOf": [_FINAL.schema(), {"type": "array", "items": _FINAL.schema(), "minItems": 1}]}
    fates = {"anyOf": [fate, {"type": "array", "items": fate, "minItems": 1}]}
    values = {"final": balances, "operations": fates, "outcomes": count, "errors": count, "totals": count}
    for name, described in properties.items():
        if name in values:
            described["additionalProperties"] = values[name]
        elif name != "verdict":
            properties[name] = {"description": described["description"], "allOf": [count]}
    _name_keys(properties["outcomes"], [fate.value for fate in Fate])


def _name_keys(described: dict[str, Any], keys: list[str]) -> None:
    """Say which keys a mapping can have, so that editors offer them."""
    described["properties"] = dict.fromkeys(keys, described["additionalProperties"])
    described["additionalProperties"] = False
