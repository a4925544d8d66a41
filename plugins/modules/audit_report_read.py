#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report_read
short_description: Have a host read its audit trail for the report on a fleet
version_added: 1.1.0
description:
  - Runs M(virtaudit.qemu.vm_net_audit_info) on the host, and keeps its answer in a temporary file on the controller.
    M(virtaudit.qemu.audit_report_write), M(virtaudit.qemu.audit_history) and M(virtaudit.qemu.trail_reconcile) find it there.
    Without this, Ansible would keep the answers of all hosts in memory.
  - If the task fails, the file has the reason.
  - The playbooks C(virtaudit.qemu.audit_report), C(virtaudit.qemu.audit_history) and C(virtaudit.qemu.trail_reconcile) use
    this module.
author:
  - virtaudit contributors (@virtaudit)
attributes:
  action:
    support: full
    description: One part of it runs on the controller, the other on the host.
  check_mode:
    support: full
    description: Changes nothing.
options:
  mac:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:mac).
    type: str
  logs:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:logs).
    type: list
    elements: path
  since:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:since).
    type: str
  until:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:until).
    type: str
  events:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:events). M(virtaudit.qemu.trail_reconcile) needs it.
    type: bool
    default: false
  history:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:history).
    type: bool
    default: false
  verify:
    description: See O(virtaudit.qemu.vm_net_audit_info#module:verify).
    type: bool
    default: false
"""

EXAMPLES = r"""
---
- name: Read the trail
  virtaudit.qemu.audit_report_read:
    verify: true
  ignore_unreachable: true
"""

RETURN = r"""
findings:
  description: See RV(virtaudit.qemu.vm_net_audit_info#module:findings).
  type: list
  elements: dict
  returned: success
stats:
  description: See RV(virtaudit.qemu.vm_net_audit_info#module:stats).
  type: dict
  returned: success
asked:
  description: See RV(virtaudit.qemu.vm_net_audit_info#module:asked).
  type: dict
  returned: success
"""
