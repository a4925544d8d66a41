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
  - Runs M(virtaudit.qemu.vm_net_audit_info) on the host and keeps its answer in a temporary file on the controller, where
    M(virtaudit.qemu.audit_report_write) finds it. Ansible keeps the results of all hosts in memory, which for a fleet is
    too much.
  - M(virtaudit.qemu.trail_reconcile) takes the answers too.
  - An answer that does not come, or a task that fails, is kept too, with its reason.
  - The playbook C(virtaudit.qemu.audit_report) uses it.
author:
  - virtaudit contributors (@virtaudit)
attributes:
  action:
    support: full
    description: Has a part that runs on the controller.
  check_mode:
    support: full
    description: Changes nothing.
options:
  mac:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:mac).
    type: str
  logs:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:logs).
    type: list
    elements: path
  since:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:since).
    type: str
  until:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:until).
    type: str
  events:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:events), for M(virtaudit.qemu.trail_reconcile).
    type: bool
    default: false
  history:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:history).
    type: bool
    default: false
  verify:
    description: As O(virtaudit.qemu.vm_net_audit_info#module:verify).
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
  description: As RV(virtaudit.qemu.vm_net_audit_info#module:findings).
  type: list
  elements: dict
  returned: success
stats:
  description: As RV(virtaudit.qemu.vm_net_audit_info#module:stats).
  type: dict
  returned: success
asked:
  description: As RV(virtaudit.qemu.vm_net_audit_info#module:asked).
  type: dict
  returned: success
"""
