"""Certificates for tests, made by openssl: an authority, a server's for 127.0.0.1, a client's with an encrypted key."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


class Certificates:
    """Files of PEM in a folder. ``stranger`` is an authority that signed nothing here. Skips without openssl."""

    key_password = "the key's own password"

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("there is no openssl here")
        self._folder = folder
        self.authority = self._authority("authority")
        self.stranger = self._authority("stranger")
        self.server = self._signed("server", "IP:127.0.0.1", None)
        self.client = self._signed("client", "DNS:client", self.key_password)

    def _authority(self, name: str) -> Path:
        file = self._folder / f"{name}.pem"
        names = ["-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign"]
        self._run(
            "req", "-x509", *_KEY, "-nodes", "-keyout", f"{name}.key", "-out", file, "-days", "2", *names
        )
        return file

    def _signed(self, name: str, alternative: str, password: str | None) -> Path:
        """A certificate, and behind it its key as PKCS #8."""
        encryption = ["-nodes"] if password is None else ["-passout", f"pass:{password}"]
        names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"]
        self._run("req", *_KEY, *encryption, "-keyout", f"{name}.key", "-out", f"{name}.csr", *names)
        signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-copy_extensions", "copy", "-days", "2"]
        if password is not None:  # what "req" encrypts a key with, Kafka on Java 17 cannot read
            old = ["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", f"{name}.key", "-out", f"{name}.old"]
            self._run(*old, "-passin", f"pass:{password}", "-passout", f"pass:{password}")
            (self._folder / f"{name}.old").replace(self._folder / f"{name}.key")
        self._run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signed)
        file = self._folder / f"{name}.pem"
        parts = [self._folder / f"{name}.crt", self._folder / f"{name}.key"]
        file.write_bytes(b"".join(part.read_bytes() for part in parts))
        return file

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)

    @staticmethod
    @contextmanager
    def folder() -> Iterator[Path]:
        """A folder for one example of a property."""
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
