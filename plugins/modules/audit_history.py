#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_history
short_description: Answer who held a NIC, on which host and network, from when to when
version_added: 1.1.0
description:
  - Takes the histories that M(virtaudit.qemu.audit_report_read) has read on the hosts in the same run of a playbook, and
    makes one table of them.
  - Where the logs of a host do not reach the time that was asked for, it says so.
  - The playbook C(virtaudit.qemu.audit_history) uses it.
author:
  - virtaudit contributors (@virtaudit)
attributes:
  action:
    support: full
    description: Runs on the controller only.
  check_mode:
    support: full
    description: Checks the options and writes nothing.
options:
  hosts:
    description: The hosts that were asked, by their names in the inventory.
    type: list
    elements: str
    required: true
  dest:
    description: A file to write the answer to, as CSV.
    type: str
    required: true
  since:
    description: From when on it was asked.
    type: str
"""

EXAMPLES = r"""
---
- name: Answer
  virtaudit.qemu.audit_history:
    hosts: "{{ groups.hypervisors }}"
    dest: /srv/audit/history.csv
"""

RETURN = r"""
history:
  description: As RV(virtaudit.qemu.vm_net_audit_info#module:history), each with its C(host).
  type: list
  elements: dict
  returned: success, outside of check mode
lines:
  description: The same as a table, and what it does not prove.
  type: list
  elements: str
  returned: success, outside of check mode
silent:
  description: Hosts that gave no answer, each with its C(host) and C(problem).
  type: list
  elements: dict
  returned: success, outside of check mode
dest:
  description: The file.
  type: str
  returned: success
"""
