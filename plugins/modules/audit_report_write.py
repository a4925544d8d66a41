#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report_write
short_description: Write one report on what the hosts of a fleet have answered
version_added: 1.1.0
description:
  - Takes the answers that M(virtaudit.qemu.audit_report_read) has kept in the same run of a playbook, one after the other,
    and writes C(audit_report.json), C(audit_report.html), C(grants.csv), C(history.csv) and C(findings.csv) on the
    controller. For a large fleet the time line of each host is a page of its own in C(audit_report_hosts).
  - A host without an answer, or with one that is not what M(virtaudit.qemu.vm_net_audit_info) returns, is in RV(silent) and
    in the report.
  - The files of the last report stay until the new ones are whole. What is new since then is marked.
  - The playbook C(virtaudit.qemu.audit_report) uses it.
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
    description:
      - The directory of the report. A relative one is seen from the directory in which C(ansible-playbook) was started,
        which the environment must name as E(PWD).
    type: str
    required: true
  fail_on:
    description: Codes of findings that are counted in RV(failing).
    type: list
    elements: str
    default: []
  known:
    description: Findings that are known and allowed. They are shown folded, and are not counted in RV(failing).
    type: list
    elements: dict
    default: []
    suboptions:
      code:
        description: The code of the finding.
        type: str
        required: true
      host:
        description: Only on this host.
        type: str
      vm:
        description: Only of the VM of this name.
        type: str
      mac:
        description: Only of this NIC.
        type: str
      exe:
        description: Only of this program.
        type: str
      path:
        description: Only of this device.
        type: str
      dev:
        description: Only of this interface.
        type: str
      until:
        description: The last day of it, in UTC. After that the finding counts again.
        type: str
      why:
        description: Why it is allowed, for the reader.
        type: str
"""

EXAMPLES = r"""
---
- name: Write the report
  virtaudit.qemu.audit_report_write:
    hosts: "{{ groups.hypervisors }}"
    dest: /srv/audit/report
    fail_on: [unrecorded_fd]
    known:
      - code: unrecorded_open
        exe: /usr/sbin/openvpn
        until: '2026-12-31'
        why: the VPN of the management network
"""

RETURN = r"""
dest:
  description: The directory.
  type: str
  returned: success
files:
  description: The names of the files in it.
  type: list
  elements: str
  returned: success, outside of check mode
grants:
  description: How many NICs are granted.
  type: int
  returned: success, outside of check mode
findings:
  description: How many findings there are, known ones included.
  type: int
  returned: success, outside of check mode
unverified:
  description: Which hosts were not compared with their logs, as a sentence, null when all were.
  type: str
  returned: success, outside of check mode
silent:
  description: Hosts that gave no answer, each with its C(host) and C(problem).
  type: list
  elements: dict
  returned: success, outside of check mode
failing:
  description: What was asked for with O(fail_on) and found, and is not known.
  type: dict
  returned: success, outside of check mode
  contains:
    count:
      description: How many findings.
      type: int
      returned: always
    codes:
      description: Their codes.
      type: list
      elements: str
      returned: always
    messages:
      description: Their messages, at most 20.
      type: list
      elements: str
      returned: always
"""
