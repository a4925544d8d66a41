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
      - The VM's name, as the records have it. Any text without a NUL byte, at most 255 bytes.
    type: str
    required: true
  uuid:
    description:
      - The VM's UUID.
      - By default, with O(qmp_socket), the UUID that qemu reports. Without one, the module makes a UUIDv5 from the
        host's machine id and O(name). This default UUID is the same in each run on a host, and it changes with the
        host. Give the UUID if the VM moves between hosts.
    type: str
  qmp_socket:
    description:
      - Path of a QMP socket of the VM, for a qemu that something else started.
      - A monitor serves one client at a time, so no other program may use this socket.
      - A VM that this collection started does not need this option.
    type: path
  audit:
    description:
      - Whether each record must be proved to be in the log of the audit daemon.
      - With V(required) the task hands over nothing unless auditing is enabled, an audit daemon lives, the kernel has
        echoed each record with its event id, and the daemon has written it to its log. Otherwise the task closes what
        it opened, and fails.
      - If C(auditd.conf) says that the daemon writes no log, the kernel's echo is the only proof, and the task warns of that.
      - With V(best_effort) the task only warns.
      - With V(off) the task writes no record.
      - If a VM ends without a task, or a task is cut off, a later task or the companion unit writes the missing
        records. It proves them as the strictest of the tasks did that gave the VM interfaces.
    type: str
    choices: [required, best_effort, 'off']
    default: required
  ticket:
    description:
      - Why the task is run, such as the number of a change or an incident. Each record that the task writes about its
        VM has it, including the records that repair earlier tasks on that VM. So the trail, the grants and the history
        have it, too.
      - The late ends of other VMs that the task records have no ticket, because the ticket is not about them.
      - Any text without a NUL byte, at most 256 bytes of UTF-8. An empty text counts as no ticket.
    type: str
    version_added: 1.1.0
requirements:
  - Linux with audit, tun and macvtap
  - Python 3.9 or newer
  - pyroute2 0.7.2 or newer
  - the Python module nftables, if an interface has a filter
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
