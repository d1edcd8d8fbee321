"""How clusters of Kafka are spoken to: TLS, a user's name and password, or neither; for aiokafka and for Java alike."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
MODULES = {"PLAIN": PLAIN_MODULE, "SCRAM-SHA-256": SCRAM_MODULE, "SCRAM-SHA-512": SCRAM_MODULE}
"""The mechanisms that both sides can, with Java's login module for each."""

_SECRET = ("sasl.jaas.config", "ssl.key.password")


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What clients need beside an address. Passwords are in no text that is made of this.

    ``truststore``: who is trusted, a file of PEM; empty for whom the system (for Java: Java) trusts. ``keystore``: the
    client's own certificate with its key, a file of PEM. ``checks_names``: whether the certificate must be the host's.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = ""
    user: str = ""
    password: str = field(repr=False, default="")
    truststore: str = ""
    keystore: str = ""
    key_password: str = field(repr=False, default="")
    checks_names: bool = True

    @property
    def encrypts(self) -> bool:
        """Whether it is TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def authenticates(self) -> bool:
        """Whether a password is asked for."""
        return self.protocol.startswith("SASL_")

    def client(self) -> dict[str, Any]:
        """What aiokafka's clients are opened with. Raises OSError where a certificate's file cannot be used."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.authenticates:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        if self.encrypts:
            options["ssl_context"] = _context(self)
        return options

    def java(self, prefix: str = "", secrets: Path | None = None) -> dict[str, str]:
        """What a Java client's file of properties has, under names with a prefix.

        ``secrets``: a worker's own file of properties, for a connector: it is told where passwords are, because Connect
        shows to everybody on this machine what a connector was told.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        settings = {"security.protocol": self.protocol}
        if self.authenticates:
            settings["sasl.mechanism"] = self.mechanism
            settings["sasl.jaas.config"] = (
                f"{MODULES[self.mechanism]} required username={_quoted(self.user)} password={_quoted(self.password)};"
            )
        if self.encrypts:
            settings["ssl.endpoint.identification.algorithm"] = "https" if self.checks_names else ""
            for store, location in (("truststore", self.truststore), ("keystore", self.keystore)):
                if location:
                    settings |= {f"ssl.{store}.type": "PEM", f"ssl.{store}.location": location}
            if self.key_password:
                settings["ssl.key.password"] = self.key_password
        return {
            prefix + name: f"${{file:{secrets}:{name}}}" if secrets and name in _SECRET else escaped(value)
            for name, value in settings.items()
        }

    def connect_worker(self) -> dict[str, str]:
        """The same for a worker of Kafka Connect, and for the clients that it opens for connectors."""
        prefixes = ("", "producer.", "consumer.", "admin.")
        return {name: value for prefix in prefixes for name, value in self.java(prefix).items()}


NO_SECURITY = KafkaSecurity()
"""Neither TLS nor a password."""


@cache
def _context(security: KafkaSecurity) -> ssl.SSLContext:
    """One for all clients of a process: to read the certificates takes longer than to connect."""
    context = ssl.create_default_context(cafile=security.truststore or None)
    context.check_hostname = security.checks_names
    if security.keystore:
        # An empty password, where there is none: OpenSSL would ask the terminal for it.
        context.load_cert_chain(security.keystore, password=security.key_password)
    return context


def escaped(text: str) -> str:
    """A value as a file of properties has it, whatever is in it."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _quoted(text: str) -> str:
    """A value as Java's login configuration has it."""
    inside = re.sub(r'["\\]', r"\\\g<0>", text)
    return '"' + re.sub(r"[\x00-\x1f]", lambda found: f"\\{ord(found[0]):03o}", inside) + '"'
