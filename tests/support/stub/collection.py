# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes a copy of the collection in which a stub replaces a module, to run the callback without a VM.

collection.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STUB = ROOT / "tests" / "support" / "stub"


def make_collection(work: Path) -> None:
    """Make the copy below a directory that will be Ansible's path of collections."""
    root = work / "ansible_collections" / "virtaudit" / "qemu"
    (root / "plugins" / "modules").mkdir(parents=True)
    for name in ("plugins/callback", "plugins/plugin_utils", "plugins/module_utils"):
        (root / name).symlink_to(ROOT / name)
    for name in ("galaxy.yml", "meta", "playbooks"):
        (root / name).symlink_to(ROOT / name)
    for module in STUB.glob("vm_net_*.py"):
        (root / "plugins" / "modules" / module.name).symlink_to(module)


if __name__ == "__main__":
    make_collection(Path(sys.argv[1]))
