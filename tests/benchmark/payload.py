# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible sends to a host for each module, beside a module that does nothing.

A payload is Ansible's own code, the module and what it imports, in a zip in base64 in a Python script.
ssh compresses it again (ansible.cfg's default for ssh_args has -C), which takes the base64 off.
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
    """Return what is sent for each module, by its name."""
    remote = work / "remote"
    # They fail, after they have been sent: no VM and no option is given.
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
    """Return the table: what the collection adds to each payload."""
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
