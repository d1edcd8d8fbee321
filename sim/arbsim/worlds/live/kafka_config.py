"""``--kafka-config``: the properties that Kafka's own command line tools take, client.properties.

What arbsim cannot do is refused by its name, never ignored: a run that is less safe than its file says must not begin.
No message repeats a value that can be a secret.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arbsim.scenario.mistakes import listed, nearest
from arbsim.worlds.live.security import MODULES, KafkaSecurity

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
KEYS = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.jaas.config",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
)
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_NOT_HERE = {
    "bootstrap.servers": "the addresses stand in --kafka",
    "ssl.truststore.password": "a truststore of PEM has no password",
    "ssl.keystore.password": "a keystore of PEM has no password but its key's, ssl.key.password",
}


class BadKafkaConfig(ValueError):
    """A file that cannot be honoured. ``mistakes``: all that is wrong, each with file, line and what is right."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class _Property:
    line: int
    value: str


class _Mistakes:
    """Everything that is wrong with a file, with its lines. Line 0 is the file itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """One more."""
        self._told.append((line, what))

    def done(self) -> None:
        """Raise BadKafkaConfig where there are any."""
        if self._told:
            raise BadKafkaConfig(
                [
                    f"{self._path}:{line}: {what}" if line else f"{self._path}: {what}"
                    for line, what in sorted(self._told)
                ]
            )


def read_kafka_config(path: Path) -> KafkaSecurity:
    """Read the file. Raises BadKafkaConfig, also where a file that it names cannot be used."""
    mistakes = _Mistakes(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        mistakes.add(0, error.strerror or "it cannot be read")
        mistakes.done()
    found = _properties(content, mistakes)
    mistakes.done()
    _refuse_unknown(found, mistakes)
    found = {key: one for key, one in found.items() if key in KEYS}
    security = _security(found, mistakes)
    mistakes.done()
    _try_files(security, found, mistakes)
    mistakes.done()
    return security


# -- what the properties mean --------------------------------------------------------------------------


def _refuse_unknown(found: Mapping[str, _Property], mistakes: _Mistakes) -> None:
    for key, one in found.items():
        if key in _NOT_HERE:
            mistakes.add(one.line, f"{key} is not supported here: {_NOT_HERE[key]}")
        elif key not in KEYS:
            # A login that lost its backslashes at the ends of lines may have its password here.
            named = repr(key) if _NAME.fullmatch(key) else "this"
            close = nearest(key, KEYS)
            hint = f"; {close}" if close.startswith("did") else ""
            mistakes.add(one.line, f"{named} is not supported{hint}; supported: {listed(KEYS)}")


def _security(found: Mapping[str, _Property], mistakes: _Mistakes) -> KafkaSecurity:
    """Put the properties together. What is wrong is among the mistakes."""
    protocol = _one_of(found, "security.protocol", PROTOCOLS, "PLAINTEXT", mistakes)
    for family, fits in (("sasl.", protocol.startswith("SASL_")), ("ssl.", protocol.endswith("SSL"))):
        for key, one in found.items():
            if key.startswith(family) and not fits:
                mistakes.add(one.line, f"{key} means nothing with security.protocol={protocol}")
    mechanism, user, password = "", "", ""
    if protocol.startswith("SASL_"):
        mechanism, user, password = _sasl(found, mistakes)
    algorithm = found.get("ssl.endpoint.identification.algorithm", _Property(0, "https"))
    if algorithm.value.lower() not in ("https", ""):
        mistakes.add(
            algorithm.line,
            "ssl.endpoint.identification.algorithm can be https, or empty for no check of names",
        )
    key_password = found.get("ssl.key.password")
    if key_password is not None and "ssl.keystore.location" not in found:
        mistakes.add(key_password.line, "ssl.key.password means nothing without ssl.keystore.location")
    return KafkaSecurity(
        protocol,
        mechanism,
        user,
        password,
        _pem(found, "truststore", mistakes),
        _pem(found, "keystore", mistakes),
        key_password.value if key_password is not None else "",
        checks_names=bool(algorithm.value),
    )


def _one_of(
    found: Mapping[str, _Property], key: str, known: tuple[str, ...], absent: str, mistakes: _Mistakes
) -> str:
    """The value of a property, in capitals as Kafka takes them; a mistake where it is none of the known ones."""
    one = found.get(key)
    if one is None:
        return absent
    if one.value.upper() not in known:
        mistakes.add(one.line, f"{key} can be {listed(known)}, not {one.value!r}")
        return absent
    return one.value.upper()


def _sasl(found: Mapping[str, _Property], mistakes: _Mistakes) -> tuple[str, str, str]:
    """Mechanism, user and password."""
    mechanism = _one_of(found, "sasl.mechanism", tuple(MODULES), "", mistakes)
    if "sasl.mechanism" not in found:
        mistakes.add(0, f"sasl.mechanism is missing; it can be {listed(MODULES)}")
    jaas = found.get("sasl.jaas.config")
    if jaas is None:
        mistakes.add(0, "sasl.jaas.config is missing; it has the user name and the password")
        return mechanism, "", ""
    try:
        module, options = _login(jaas.value)
        if mechanism and module != MODULES[mechanism]:
            raise ValueError(
                f"sasl.jaas.config must name {MODULES[mechanism]} for sasl.mechanism={mechanism}"
            )
    except ValueError as error:
        mistakes.add(jaas.line, str(error))
        return mechanism, "", ""
    return mechanism, options["username"], options["password"]


def _pem(found: Mapping[str, _Property], store: str, mistakes: _Mistakes) -> str:
    """Where a store of PEM is; empty where there is none."""
    location, kind = found.get(f"ssl.{store}.location"), found.get(f"ssl.{store}.type")
    if kind is not None and kind.value.upper() != "PEM":
        mistakes.add(
            kind.line, f"ssl.{store}.type can be PEM, not {kind.value!r}; keytool and openssl can convert it"
        )
    elif location is not None and kind is None:
        mistakes.add(
            location.line,
            f"ssl.{store}.type=PEM is missing: Kafka takes the file for JKS, which arbsim cannot read",
        )
    return str(Path(location.value).absolute()) if location is not None else ""


def _try_files(security: KafkaSecurity, found: Mapping[str, _Property], mistakes: _Mistakes) -> None:
    """Read the certificates once, so that a mistake in them is told here and not as that of a server."""
    if not security.encrypts:
        return
    what = {
        "truststore": "no certificate in PEM",
        "keystore": "no certificate with its key in PEM, or ssl.key.password is not the key's",
    }
    for store, wanted in what.items():
        one = found.get(f"ssl.{store}.location")
        if one is None:
            continue
        alone = KafkaSecurity(
            "SSL",
            truststore=security.truststore if store == "truststore" else "",
            keystore=security.keystore if store == "keystore" else "",
            key_password=security.key_password,
        )
        try:
            alone.client()
        except ssl.SSLError:
            mistakes.add(one.line, f"{one.value} has {wanted}")
        except OSError as error:
            mistakes.add(one.line, f"{one.value}: {error.strerror or 'it cannot be read'}")
        else:
            if store == "keystore" and not _java_reads(Path(one.value).read_text("ascii", "replace")):
                mistakes.add(
                    one.line,
                    f"the key in {one.value} is not one that Kafka's Java clients read: PKCS #8, and where it is"
                    " encrypted, not by PBES2; openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES converts it",
                )


_KEY_IN_PEM = re.compile(r"-----BEGIN (ENCRYPTED )?PRIVATE KEY-----([\sA-Za-z0-9+/=]*)-----END")
_PBES2 = bytes.fromhex("2a864886f70d01050d")


def _java_reads(pem: str) -> bool:
    """Whether a key is PKCS #8. One that PBES2 encrypts, as openssl likes to, Kafka 4.3 cannot read on Java 17."""
    found = _KEY_IN_PEM.search(pem)
    return found is not None and _PBES2 not in base64.b64decode(found[2])


# -- the login configuration ---------------------------------------------------------------------------

_VALUE = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|[A-Za-z_$][\w$.-]*'
_OPTION = re.compile(rf"\s*([A-Za-z_]\w*)\s*=\s*({_VALUE})(?=[\s;])", re.ASCII | re.DOTALL)
_MODULE = re.compile(r"\s*([\w.$]+)\s+(\w+)(?=\s)", re.ASCII)
_ESCAPE = re.compile(r"\\([0-3][0-7]{2}|[0-7]{1,2}|.)", re.DOTALL)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_FORM = 'sasl.jaas.config must be: MODULE required username="..." password="...";'


def _login(text: str) -> tuple[str, dict[str, str]]:
    """The login module and its options. Raises ValueError, which repeats nothing of the text but names of options."""
    head = _MODULE.match(text)
    if head is None or head[2].lower() != "required":
        raise ValueError(_FORM)
    options: dict[str, str] = {}
    place = head.end()
    while (option := _OPTION.match(text, place)) is not None:
        if option[1] not in ("username", "password"):
            raise ValueError(
                f"sasl.jaas.config: the option {option[1]} is not supported, only username and password"
            )
        if option[1] in options:
            raise ValueError(f"sasl.jaas.config: {option[1]} is there twice")
        options[option[1]] = _unquoted(option[2])
        place = option.end()
    if text[place:].strip() != ";" or not options.get("username") or not options.get("password"):
        raise ValueError(_FORM)
    return head[1], options


def _unquoted(token: str) -> str:
    """A value of a login configuration, as Java's StreamTokenizer reads it."""
    return _ESCAPE.sub(_meant, token[1:-1]) if token[0] in "\"'" else token


def _meant(found: re.Match[str]) -> str:
    return (
        chr(int(found[1], 8)) if found[1].isdigit() and found[1] < "8" else _LETTERS.get(found[1], found[1])
    )


# -- files of properties -------------------------------------------------------------------------------

_BLANK = " \t\f"
_KEY = re.compile(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_UNICODE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _properties(content: bytes, mistakes: _Mistakes) -> dict[str, _Property]:
    """The properties by key, as java.util.Properties reads them; a key that stands twice is a mistake."""
    found: dict[str, _Property] = {}
    for line, text in _logical_lines(content, mistakes):
        match = _KEY.fullmatch(text)
        assert match is not None, "what is no key is a value"
        try:
            key, value = _unescaped(match[1]), _unescaped(match[2]).strip()  # as Kafka does
        except ValueError:
            mistakes.add(
                line, "\\u must be followed by four hexadecimal digits, and surrogates come in pairs"
            )
            continue
        if key in found:
            mistakes.add(line, f"{key!r} is there already, on line {found[key].line}")
        found[key] = _Property(line, value)
    return found


def _logical_lines(content: bytes, mistakes: _Mistakes) -> Iterator[tuple[int, str]]:
    """Lines with those that go on them, each with the number of its first; comments and blank lines are left out."""
    began, whole = 0, ""
    for number, raw in enumerate(re.split(rb"\r\n|\r|\n", content), start=1):
        text = raw.decode("latin-1").lstrip(_BLANK)
        if not began and (not text or text[0] in "#!"):
            continue
        if not text.isascii():
            mistakes.add(
                number,
                "write \\u and four hexadecimal digits for what is not ASCII: Java reads this file as Latin-1",
            )
        began = began or number
        goes_on = (len(text) - len(text.rstrip("\\"))) % 2 == 1
        whole += text[:-1] if goes_on else text
        if not goes_on:
            yield began, whole
            began, whole = 0, ""
    if began:
        yield began, whole


def _unescaped(text: str) -> str:
    """What stands for itself once the escapes are read. Raises ValueError."""
    if re.search(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})", text):
        raise ValueError
    units = _UNICODE.sub(lambda one: _letter(one[1]), text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _letter(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _CONTROLS.get(escape, escape)
