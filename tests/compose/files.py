"""The compose file and the files that it names, as the tests read them."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "docker-compose.yml"
GRPC = ROOT / "compose" / "grpc.yml"


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return loaded


def services(*paths: Path) -> dict[str, dict[str, Any]]:
    """The services of compose files given one after the other: what a later one says of a service goes before."""
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for name, service in document(path)["services"].items():
            known = merged.setdefault(name, {})
            for key, value in service.items():
                both = isinstance(value, dict) and isinstance(known.get(key), dict)
                known[key] = known[key] | value if both else value
    return merged


SERVICES = services(MAIN)
WITH_GRPC = services(MAIN, GRPC)


def connector(name: str) -> dict[str, str]:
    """A connector's configuration, as Connect gets it."""
    loaded: dict[str, str] = json.loads((ROOT / "compose" / name).read_text(encoding="utf-8"))
    return loaded


def mirror_maker() -> dict[str, str]:
    """MirrorMaker's properties. A backslash would need more care; there is none."""
    text = (ROOT / "compose" / "mirror-maker.properties").read_text(encoding="utf-8")
    assert "\\" not in text
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [line.partition("=") for line in lines]
    properties = {key.strip(): value.strip() for key, _, value in pairs}
    assert len(properties) == len(lines), "a key stands there twice"
    return properties


def script(service: dict[str, Any]) -> list[str]:
    """A service's command as the container gets it: compose turns $$ into $."""
    return [part.replace("$$", "$") for part in service["command"]]
