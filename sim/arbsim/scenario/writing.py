"""A scenario's plain data as YAML that people like to read: one line for what fits on one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z0-9.+-][A-Za-z0-9 ._/%+-]*(?<! )")
_NOT_TEXT = ("", "~", "null", "Null", "NULL")


def as_yaml(data: dict[str, Any]) -> str:
    """Return texts in mappings and lists as YAML; reading it gives the same texts."""
    return "\n".join(_block(data, "")) + "\n"


def _block(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", item, indent)
    else:
        for item in value:
            yield from _entry(f"{indent}-", item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    line = f"{head} {_flow(value)}"
    # Lists of operations and the regions stand under each other, however few they are.
    nested = isinstance(value, dict | list) and any(isinstance(one, dict) for one in _items(value))
    fits = len(line) <= WIDTH and (not nested or head.lstrip().startswith("-"))
    if fits or not value or not isinstance(value, dict | list):
        yield line
    else:
        inner = list(_block(value, indent + "  "))
        if head.lstrip() == "-":  # the first key stands beside the dash
            yield f"{head} {inner.pop(0).lstrip()}"
        else:
            yield head
        yield from inner


def _items(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(text: Any) -> str:
    """A text without quotes where YAML reads it as it is."""
    text = str(text)
    plain = _PLAIN.fullmatch(text) and text not in _NOT_TEXT and text not in ("-", "---")
    return text if plain else json.dumps(text, ensure_ascii=True)
