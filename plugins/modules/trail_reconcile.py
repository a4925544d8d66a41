#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trail_reconcile
short_description: Compare the trail of the controller with the hosts' audit logs
version_added: 1.1.0
description:
  - Compares all files that the callback P(virtaudit.qemu.audit_trail#callback) has written to a directory with what
    M(virtaudit.qemu.audit_report_read) has read of the hosts' logs in the same run of a playbook, with O(virtaudit.qemu.audit_report_read#module:events).
  - It finds records on hosts that no file has, as of a run whose file was removed, of a run without the callback and of an
    ad-hoc task, and records in files that no host has.
  - What libvirt and other programs wrote, what was written before the oldest file began, and the end of a VM that no task
    asked for are counted and are no discrepancy.
  - The playbook C(virtaudit.qemu.trail_reconcile) uses it.
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
  path:
    description: The directory of the trail.
    type: str
    required: true
  dest:
    description: A file to write all of the answer to, as JSON.
    type: str
  begin:
    description: The name of the oldest file that is kept, or how it begins, where older ones were put away.
    type: str
"""

EXAMPLES = r"""
---
- name: Compare
  virtaudit.qemu.trail_reconcile:
    hosts: "{{ groups.hypervisors }}"
    path: /srv/audit/trail
    dest: /srv/audit/trail_reconcile.json
"""

RETURN = r"""
sound:
  description: Whether all of it agrees.
  type: bool
  returned: success, outside of check mode
lines:
  description: What does not agree, and the counts of each host, for people; at most 100 lines.
  type: list
  elements: str
  returned: success, outside of check mode
dest:
  description: The file with all of it.
  type: str
  returned: success, outside of check mode
"""
