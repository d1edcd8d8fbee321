"""``--kafka-config``: what Kafka's tools take is understood, and what cannot be honoured is refused by its name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbsim.worlds.live.kafka import properties
from arbsim.worlds.live.kafka_config import BadKafkaConfig, read_kafka_config
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity
from tests.certificates import Certificates

SECRET = "hidden word"
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="me" password="{SECRET}";'
SCRAM = PLAIN.replace("plain.Plain", "scram.Scram")
SASL = f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={PLAIN}\n"


@pytest.fixture(name="certificates", scope="module")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "client.properties"


def read(file: Path, text: str) -> KafkaSecurity:
    file.write_text(text, encoding="utf-8")
    return read_kafka_config(file)


def mistakes(file: Path, text: str) -> list[str]:
    """What is wrong with a text, each without the path of the file."""
    with pytest.raises(BadKafkaConfig) as refused:
        read(file, text)
    assert SECRET not in str(refused.value)
    return [one.removeprefix(str(file)) for one in refused.value.mistakes]


def test_an_empty_file_is_neither_tls_nor_a_password(file: Path) -> None:
    assert read(file, "# nothing\n\n") == NO_SECURITY
    assert NO_SECURITY.client() == {"security_protocol": "PLAINTEXT"}
    assert NO_SECURITY.java() == NO_SECURITY.connect_worker() == {}


def test_a_file_as_a_managed_kafka_hands_it_out_is_understood(file: Path) -> None:
    """With a key and a value in every way that java.util.Properties knows, and a login over three lines."""
    found = read(
        file,
        "! Gr\u00fc\u00dfe: a comment may have any letter\n"
        "security.protocol : sasl_ssl\n"
        "  sasl.mechanism\tSCRAM-SHA-512   \n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
        "   username = 'you' \\\n"
        '   password="a\\\\"\\u00fc\\\\\\\\b\\\\101"; \n'
        "ssl.endpoint.identification.algorithm=\r\n",
    )
    assert found == KafkaSecurity("SASL_SSL", "SCRAM-SHA-512", "you", 'a"\u00fc\\bA', checks_names=False)
    options = found.client()
    assert not options.pop("ssl_context").check_hostname
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "you",
        "sasl_plain_password": 'a"\u00fc\\bA',
    }
    assert "\u00fc" not in f"{found} {found!r}"


def test_stores_of_pem_are_used_with_the_key_s_password(file: Path, certificates: Certificates) -> None:
    text = (
        "security.protocol=SSL\n"
        f"ssl.truststore.type=pem\nssl.truststore.location={certificates.authority}\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={certificates.client}\n"
        f"ssl.key.password={certificates.key_password}\n"
    )
    found = read(file, text)
    context = found.client()["ssl_context"]
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    assert found.client()["ssl_context"] is context
    assert certificates.key_password not in repr(found)
    for other in ("another", ""):
        (told,) = mistakes(file, text.replace(certificates.key_password, other))
        assert told.startswith(
            f":5: {certificates.client} has no certificate with its key in PEM, or ssl.key.password"
        )


@given(st.text(min_size=1), st.text(min_size=1))
def test_what_java_is_told_is_read_back_whatever_is_in_it(user: str, password: str) -> None:
    with Certificates.folder() as folder:
        file = folder / "java.properties"
        security = KafkaSecurity("SASL_PLAINTEXT", "SCRAM-SHA-256", user, password)
        file.write_text(properties(security.java()), encoding="ascii")
        assert read_kafka_config(file) == security


_WORDS = "supported: security.protocol, sasl.mechanism, sasl.jaas.config, ssl.truststore.type,"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("acks=all\n", [f":1: 'acks' is not supported; {_WORDS}"]),
        (
            "\nsasl.mechanisms=PLAIN",
            [":2: 'sasl.mechanisms' is not supported; did you mean \"sasl.mechanism\"?"],
        ),
        (
            "bootstrap.servers=a:1",
            [":1: bootstrap.servers is not supported here: the addresses stand in --kafka"],
        ),
        ("ssl.keystore.password=x", [":1: ssl.keystore.password is not supported here: a keystore of PEM"]),
        (
            "security.protocol=TLS",
            [":1: security.protocol can be PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, not 'TLS'"],
        ),
        (
            SASL.replace("=PLAIN\n", "=GSSAPI\n"),
            [":2: sasl.mechanism can be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, not 'GSSAPI'"],
        ),
        ("security.protocol=SASL_SSL", [": sasl.jaas.config is missing", ": sasl.mechanism is missing"]),
        (
            SASL.partition("\n")[2],
            [":1: sasl.mechanism means nothing with security.protocol=PLAINTEXT", ":2: sasl.jaas"],
        ),
        (
            SASL + "ssl.key.password=x",
            [":4: ssl.key.password means nothing with", ":4: ssl.key.password means nothing"],
        ),
        (
            "security.protocol=SSL\nssl.key.password=x",
            [":2: ssl.key.password means nothing without ssl.keystore.loc"],
        ),
        (
            "security.protocol=SSL\nssl.truststore.type=JKS",
            [":2: ssl.truststore.type can be PEM, not 'JKS'; keytool"],
        ),
        ("security.protocol=SSL\nssl.truststore.location=x", [":2: ssl.truststore.type=PEM is missing"]),
        (
            "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=/nobody/here\n",
            [":3: /nobody/here: No such file or directory"],
        ),
        (
            "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=/dev/null\n",
            [":3: /dev/null has no certificate in PEM"],
        ),
        (
            "security.protocol=SSL\nssl.endpoint.identification.algorithm=none",
            [":2: ssl.endpoint.identification.algorithm can be https, or empty for no check of names"],
        ),
        (
            "security.protocol=SSL\nsecurity.protocol=SSL",
            [":2: 'security.protocol' is there already, on line 1"],
        ),
        (
            SASL.replace("hidden", "h\u00efdden"),
            [":3: write \\u and four hexadecimal digits for what is not ASCII"],
        ),
        (SASL.replace("hidden", "\\u00e"), [":3: \\u must be followed by four hexadecimal digits"]),
        (SASL.replace("hidden", "\\ud800"), [":3: \\u must be followed by four hexadecimal digits"]),
        (f'"{SECRET}";', [":1: this is not supported; supported: security.protocol"]),
        ("acks=all\nlinger.ms=5", [":1: 'acks' is not supported", ":2: 'linger.ms' is not supported"]),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_line(text: str, told: list[str], file: Path) -> None:
    found = mistakes(file, text)
    assert len(found) == len(told), found
    for one, beginning in zip(found, told, strict=True):
        assert one.startswith(beginning)


@pytest.mark.parametrize(
    "login",
    [
        "",
        "required",
        PLAIN.removesuffix(";"),
        PLAIN + PLAIN,
        PLAIN.replace("required", "optional"),
        PLAIN.replace(f'password="{SECRET}"', ""),
        PLAIN.replace(f'password="{SECRET}"', f"password={SECRET}"),
        PLAIN.replace(f'password="{SECRET}"', 'password=""'),
        PLAIN.replace('username="me"', 'username="me" username="you"'),
        PLAIN.replace('username="me"', 'username="me" user_admin="you"'),
        PLAIN.replace(" required", ' required tokenauth="true"'),
        SCRAM,
    ],
)
def test_another_login_is_refused_and_its_text_is_not_repeated(login: str, file: Path) -> None:
    (told,) = mistakes(file, SASL.replace(PLAIN, login))
    assert told.startswith(":3: sasl.jaas.config")


@pytest.mark.parametrize("how", ["ec", "ec -aes256", "pkcs8 -topk8", "pkcs8 -topk8 -nocrypt"])
def test_a_key_that_java_cannot_read_is_refused(how: str, file: Path, certificates: Certificates) -> None:
    passwords = [f"pass:{certificates.key_password}", "-passout", f"pass:{certificates.key_password}"]
    command = ["openssl", *how.split(), "-in", str(certificates.client), "-passin", *passwords]
    key = subprocess.run(command, check=True, capture_output=True).stdout
    other = file.with_name("other.pem")
    other.write_bytes(certificates.client.read_bytes().partition(b"-----BEGIN ENCRYPTED")[0] + key)
    text = (
        f"security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={other}\n"
        f"ssl.key.password={certificates.key_password}\n"
    )
    if how.endswith("nocrypt"):
        assert read(file, text).keystore == str(other)
    else:
        (told,) = mistakes(file, text)
        assert told.startswith(f":3: the key in {other} is not one that Kafka's Java")


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(BadKafkaConfig, match=r"client\.properties: No such file or directory"):
        read_kafka_config(file)
