# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible sends to a host for each module, beside a module that does nothing.

A payload is a Python script with a zip file in base64. The zip file has Ansible's own code, the module and the modules
that it imports. ssh compresses the payload again, because ansible.cfg's default for ssh_args has -C. This undoes the
growth from base64.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import playbook, script
from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    Wanted,
)

MODULES = ("vm_net_attach", "vm_net_detach", "vm_net_audit_info")
_KIB = 1024


def payloads(work: Path) -> dict[str, bytes]:
    """Return the payload of each module, by the module's name."""
    remote = work / "remote"
    # The modules fail after they were sent, because the tasks give no VM and no option.
    tasks: list[playbook.Task] = [
        {"name": name, f"virtaudit.qemu.{name}": {}, "failed_when": False}
        for name in MODULES
    ]
    playbook.run(
        [{"name": "noop", "noop": {}}, *tasks],
        work,
        environment={
            "ANSIBLE_KEEP_REMOTE_FILES": "true",
            "ANSIBLE_REMOTE_TMP": str(remote),
        },
    )
    files = remote.glob("*/AnsiballZ_*.py")
    return {path.stem.partition("_")[2]: path.read_bytes() for path in files}


def figures(sent: dict[str, bytes]) -> list[Figure]:
    """Return the table with the bytes that the collection adds to each payload."""
    nothing = sent["noop"]
    found = []
    for name in MODULES:
        added = len(_packed(sent[name])) - len(_packed(nothing))
        sides = {
            "added by the collection, compressed": [added / _KIB],
            "added by the collection": [(len(sent[name]) - len(nothing)) / _KIB],
            "all, compressed": [len(_packed(sent[name])) / _KIB],
            "all": [len(sent[name]) / _KIB],
            "all of a no-op module": [len(nothing) / _KIB],
        }
        wanted = Wanted("at most", 100, "median")
        found.append(Figure(name, "KiB", sides, wanted=wanted))
    return found


def _packed(data: bytes) -> bytes:
    # OpenSSH's -C is zlib at its default level.
    return zlib.compress(data)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        script.finish(figures(payloads(Path(name))))


if __name__ == "__main__":
    main()
