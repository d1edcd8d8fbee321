"""``arbsim live`` with its servers on a disk that gets full. The disk is a small one that the test mounts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import skip_without_postgres

SCENARIO = """\
name: full disk
regions: {east: {location: us-east-1}}
database: {dialect: postgres, leader: east, pool_size: 4}
accounts: {1: 100000.00}
workload:
  generate:
    operations: 100
    arrivals: {process: poisson, rate: 200/s}
    amounts: {from: 5.00, to: 40.00}
    mix: {deposit: 100 %}
designs: [db/atomic-update]
"""

DESIGN = """\
import os
from dataclasses import dataclass, replace

from arbsim.designs.atomic_update import AtomicUpdate

MUCH = "INSERT INTO much SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 100000)"


@dataclass(frozen=True)
class FillsTheDisk(AtomicUpdate):
    name = "fills-the-disk"

    def resources(self):
        return replace(super().resources(), tables=("CREATE TABLE much (it TEXT NOT NULL)",))

    async def decide(self, op, region):
        if op.id == 50:
            try:
                with open(os.environ["TMPDIR"] + "/ballast", "wb", buffering=0) as ballast:
                    while ballast.write(bytes(1 << 16)):
                        pass
            except OSError:
                pass
            await region.database.execute(MUCH)
        return await super().decide(op, region)
"""


def test_a_full_disk_ends_a_run_with_the_server_named_what_was_judged_kept_and_nothing_left(
    tmp_path: Path,
) -> None:
    skip_without_postgres()
    disk = tmp_path / "disk"
    disk.mkdir()
    for part in (tmp_path, *tmp_path.parents):  # PostgreSQL, which does not run as root, must come through
        if not part.stat().st_mode & 0o001:
            part.chmod(0o755)
    (tmp_path / "full.yaml").write_text(SCENARIO, encoding="utf-8")
    (tmp_path / "full.py").write_text(DESIGN, encoding="utf-8")
    mount = 'mount -t tmpfs -o size=100m,mode=1777 arbsim-test "$1"'
    in_a_namespace = ["unshare", "--mount", "sh", "-c"]
    try:
        subprocess.run([*in_a_namespace, mount, "sh", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody but root mounts a disk here")
    live = [sys.executable, "-m", "arbsim", "live", "full.yaml", "--design", "full.py:FillsTheDisk"]
    ended = subprocess.run(
        [
            *in_a_namespace,
            mount + ' && shift && "$@"; echo "ended with $?"; echo "left: $(ls $TMPDIR)"',
            "sh",
            disk,
            *live,
        ],
        cwd=tmp_path,
        check=False,
        env={**os.environ, "TMPDIR": str(disk)},
        capture_output=True,
        text=True,
    )
    assert "error: the database postgres at 127.0.0.1:" in ended.stderr, ended.stderr
    assert ended.stdout == "ended with 4\nleft: ballast\n"
    report = (tmp_path / "reports" / "full_live" / "report.md").read_text("utf-8")
    assert re.search(
        r"DiskFullError .*Of its 100 operations: \d+ accepted, 0 rejected, 0 failed, \d+ unknown", report
    )
