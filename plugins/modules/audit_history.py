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
  - If the logs of a host do not reach back to the time that you asked for, or are a copy that ends before it, the answer says
    so.
  - The playbook C(virtaudit.qemu.audit_history) uses this module.
author:
  - virtaudit contributors (@virtaudit)
extends_documentation_fragment:
  - virtaudit.qemu._controller
options:
  dest:
    description: The module writes the answer to this file, as CSV.
    type: str
    required: true
  since:
    description: The beginning of the time that you asked for. A time without an offset is in the time zone of each host.
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
  description: The entries of RV(virtaudit.qemu.vm_net_audit_info#module:history) of all hosts, each with its C(host).
  type: list
  elements: dict
  returned: success, outside of check mode
lines:
  description: The same as a table for people. Below the table stands what the answer does not prove.
  type: list
  elements: str
  returned: success, outside of check mode
silent:
  description: The hosts that gave no answer, each with its C(host) and C(problem).
  type: list
  elements: dict
  returned: success, outside of check mode
dest:
  description: The path of the CSV file.
  type: str
  returned: success
"""
