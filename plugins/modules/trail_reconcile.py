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
  - Compares all files that the callback P(virtaudit.qemu.audit_trail#callback) has written to a directory with the hosts'
    logs. M(virtaudit.qemu.audit_report_read) must have read these logs in the same run of a playbook, with
    O(virtaudit.qemu.audit_report_read#module:events).
  - It finds records on hosts that no file has. Such a record is of a run whose file somebody removed, of a run without the
    callback, or of an ad-hoc task. It also finds records in files that no host has.
  - It counts three kinds of records that no file can have, and does not call them wrong. These are the records of libvirt
    and of other programs, the records from before the oldest file, and the end of a VM that ended without a task.
  - The playbook C(virtaudit.qemu.trail_reconcile) uses this module.
author:
  - virtaudit contributors (@virtaudit)
extends_documentation_fragment:
  - virtaudit.qemu._controller
options:
  path:
    description: The directory of the trail.
    type: str
    required: true
  dest:
    description: The module writes the whole answer to this file, as JSON.
    type: str
  begin:
    description: The name of the oldest file that you keep, or the beginning of that name. Give it if you have moved older files away.
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
  description: Whether the files and the logs agree.
  type: bool
  returned: success, outside of check mode
lines:
  description: What does not agree, and the counts of each host. These are at most 100 lines for people.
    If there are more, the last line says how many.
  type: list
  elements: str
  returned: success, outside of check mode
dest:
  description: The path of the file with the whole answer.
  type: str
  returned: success, outside of check mode
"""
