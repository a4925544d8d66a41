# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules share. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Options that name a VM, and how its records are proved."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - The VM's name, as its records carry it. Any text without a NUL byte, at most 255 bytes.
    type: str
    required: true
  uuid:
    description:
      - The VM's UUID.
      - By default the one that the qemu behind O(qmp_socket) reports, else the UUIDv5 of the host's
        machine id and O(name), which is the same on each run.
    type: str
  qmp_socket:
    description:
      - Path of a QMP socket of the VM, for a qemu that something else started.
      - A monitor serves one client at a time, so this must be one that nothing else holds.
      - A VM that this collection started needs none.
    type: path
  audit:
    description:
      - How much the records must be proved.
      - V(required) hands over nothing unless auditing is enabled, an audit daemon lives, the kernel has echoed each
        record with its event id, and the daemon has written it to its log. The task fails otherwise, and what was
        opened is closed.
      - Where C(auditd.conf) says that no log is written, the kernel's echo is all the proof, with a warning.
      - V(best_effort) turns the same into warnings.
      - V(off) writes no record.
      - The end of a VM that no task asked for, and what a task left that was cut off, is recorded as the strictest
        task asked that gave the VM interfaces.
    type: str
    choices: [required, best_effort, 'off']
    default: required
  ticket:
    description:
      - Why the task is run, as the number of a change or an incident. It stands in each record that the task writes about
        its VM, with what it repairs of earlier tasks on that VM, and so in the trail, in grants and in the history.
      - The ends of other VMs that the task records late have no ticket, since it says nothing of them.
      - Any text without a NUL byte, at most 256 bytes of UTF-8. An empty one is none.
    type: str
requirements:
  - Linux with audit, tun and macvtap
  - Python 3.9 or newer
  - pyroute2 0.7.2 or newer
  - qemu 6.2 or newer
author:
  - virtaudit contributors (@virtaudit)
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    support: full
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    support: full
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled/queried by the module has not changed in a relevant way.
  platform:
    support: full
    description: Target OS/families that can be operated against.
    platforms: posix
  action_group:
    support: full
    description: Use C(group/virtaudit.qemu.qemu) in C(module_defaults) to set defaults for this module.
    membership:
      - virtaudit.qemu.qemu
"""
