"""Addresses of servers that people already have, as they write them: ``--kafka`` and ``--dsn``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from arbsim.worlds.live.database import DatabaseServer

_KAFKA = "east=host:port,west=host:port"
_DSN = "postgresql://user@host:port/database"
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@,\[\]]+):(\d{1,5})")
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca")


class BadAddress(ValueError):
    """What was written is no address; the text says what is expected, and repeats no password."""


def parse_kafka(text: str, regions: Sequence[str]) -> dict[str, str]:
    """The address of each region's cluster. Raises BadAddress."""
    expected = f"expected an address for each region, {','.join(f'{region}=host:port' for region in regions)}"
    found: dict[str, str] = {}
    for part in text.split(","):
        region, equals, place = part.strip().partition("=")
        match = _PLACE.fullmatch(place)
        if not equals or match is None or not 0 < int(match[2]) < 65536:
            raise BadAddress(f"--kafka: {part.strip()!r} is not region=host:port; {expected}")
        if region not in regions:
            raise BadAddress(f"--kafka: the scenario has no region {region!r}; {expected}")
        if region in found:
            raise BadAddress(f"--kafka: {region} is there twice; {expected}")
        found[region] = place
    missing = [region for region in regions if region not in found]
    if missing:
        raise BadAddress(f"--kafka: {', '.join(missing)} has no address; {expected}")
    return {region: found[region] for region in regions}


def parse_dsn(text: str, environment: Mapping[str, str]) -> DatabaseServer:
    """The database. A password that is not in the URL is taken from PGPASSWORD. Raises BadAddress."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or 5432
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise BadAddress(f"--dsn: this is no URL of one server; expected {_DSN}") from None
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
        raise BadAddress(f"--dsn: expected {_DSN}")
    if not host or "," in host or not user or not database or "/" in database:
        raise BadAddress(f"--dsn: user, one host and database are needed; expected {_DSN}")
    sslmode = options.pop("sslmode", environment.get("PGSSLMODE") or "prefer")
    if options:
        raise BadAddress(f"--dsn: only sslmode can follow the ?, not {', '.join(map(repr, options))}")
    if sslmode == "verify-full":
        raise BadAddress(
            "--dsn: sslmode=verify-full cannot be: clients go over a relay for each region, and the relay's name is not"
            " the certificate's. verify-ca checks the certificate without the name"
        )
    if sslmode not in _SSLMODES:
        raise BadAddress(f"--dsn: sslmode can be {', '.join(_SSLMODES)}, not {sslmode!r}")
    password = unquote(parts.password) if parts.password is not None else environment.get("PGPASSWORD", "")
    return DatabaseServer(host, port, user, database, password, sslmode)
