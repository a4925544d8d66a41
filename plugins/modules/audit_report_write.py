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
  - Takes the answers that M(virtaudit.qemu.audit_report_read) has kept in the same run of a playbook, one after the other.
    It writes C(audit_report.html), C(audit_report.json), C(grants.csv), C(history.csv) and C(findings.csv) on the controller.
    In a large fleet the time line of each host is a page of its own in C(audit_report_hosts).
  - If a host gave no answer, or something that M(virtaudit.qemu.vm_net_audit_info) does not return, the report and
    RV(silent) name the host and the reason. The report has all other hosts.
  - The files of the last report stay until the new files are whole. The new report marks what is new since then.
  - The playbook C(virtaudit.qemu.audit_report) uses this module.
author:
  - virtaudit contributors (@virtaudit)
extends_documentation_fragment:
  - virtaudit.qemu._controller
options:
  dest:
    description:
      - The directory of the report. A relative path begins at the directory in which you started C(ansible-playbook). The
        environment must name that directory as E(PWD).
    type: str
    required: true
  fail_on:
    description: RV(failing) counts the findings that have one of these codes.
    type: list
    elements: str
    default: []
  known:
    description: Findings that you know and allow. The page shows them folded, and RV(failing) does not count them.
    type: list
    elements: dict
    default: []
    suboptions:
      code:
        description: The code of the finding.
        type: str
        required: true
      host:
        description: The entry is only for this host.
        type: str
      vm:
        description: The entry is only for the VM of this name.
        type: str
      mac:
        description: The entry is only for the NIC with this MAC address.
        type: str
      exe:
        description: The entry is only for this program.
        type: str
      path:
        description: The entry is only for this device.
        type: str
      dev:
        description: The entry is only for this network interface of the host.
        type: str
      until:
        description: The last day of the entry, in UTC. After that day the finding counts again.
        type: str
      why:
        description: Why you allow it. The page shows this text.
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
  description: The number of NICs that a VM holds.
  type: int
  returned: success, outside of check mode
findings:
  description: The number of findings. It includes the known ones.
  type: int
  returned: success, outside of check mode
unverified:
  description:
    - A sentence that names the hosts whose trail was not compared with what they hold now. Null if all were compared.
    - If somebody asked for a time that is over, it also says at which time the trail was as the report shows it.
  type: str
  returned: success, outside of check mode
silent:
  description: The hosts that gave no answer, each with its C(host) and C(problem).
  type: list
  elements: dict
  returned: success, outside of check mode
failing:
  description: The findings that have a code of O(fail_on) and that O(known) does not name.
  type: dict
  returned: success, outside of check mode
  contains:
    count:
      description: Their number.
      type: int
      returned: always
    codes:
      description: Their codes.
      type: list
      elements: str
      returned: always
    messages:
      description: The messages of at most 20 of them. A character that controls a terminal is written as an escape.
      type: list
      elements: str
      returned: always
"""
