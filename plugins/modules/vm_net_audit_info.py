#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_net_audit_info
short_description: Tell which VM holds which network device, since when and by whom, from the audit logs
version_added: 1.0.0
description:
  - Reads the logs of the audit daemon. It tells which VM holds which network devices. It also tells what should not be,
    as findings, each with the events that it rests on.
  - Reads the records of libvirt as well as those of this collection.
  - With O(name), O(uuid) or O(mac) it reads the logs backwards. It stops at the start of the VM's last run or of the
    host, unless O(since) or O(verify) asks for more. A name then means the VM that had it last, and a MAC address means
    all VMs that had it since the host booted.
  - If the kernel records opens of C(/dev/net/tun), C(/dev/vhost-net) and macvtap nodes, or V(TUNSETIFF), and you ask
    for no single VM, the module compares them with the records of those who opened them. The audit rules for that on a
    64-bit x86 host, with any key, are V(-a always,exit -F arch=b64 -F path=/dev/net/tun -F perm=rw), the same for C(/dev/vhost-net),
    V(-a always,exit -F arch=b64 -S open,creat,openat,openat2,open_by_handle_at -F devmajor=N) with macvtap's C(N) of
    C(/proc/devices), and V(-a always,exit -F arch=b64 -S ioctl -F a1=0x400454ca).
  - The module orders events by the kernel's serial numbers, so a clock that was set back does no harm.
  - The kernel writes into each record which user sent it. A record of another user than root proves nothing. It changes no grant, and it is a finding.
  - If root reads a log of more than 32 MiB, the module keeps an index of it in C(/var/cache/virtaudit), to find a VM at
    once that was started long ago. You can delete it at any time. Check mode writes no index.
  - All grants end when the host boots. The module sees a boot by serial numbers that begin anew, with or without a
    V(SYSTEM_BOOT) record. A container also writes such a record, in the middle of the host's other records; the module
    ignores it.
extends_documentation_fragment:
  - virtaudit.qemu._vm.attributes
attributes:
  diff_mode:
    support: N/A
    description: Changes nothing.
options:
  name:
    description: Only this VM, by its name.
    type: str
  uuid:
    description: Only this VM, by its UUID.
    type: str
  mac:
    description: Only this NIC, by its MAC address.
    type: str
  logs:
    description:
      - The log files to read, in any order. Directories, globs and tar archives of logs are possible. The module
        unpacks files of C(gzip), C(xz), C(bzip2) and, if it is installed, C(zstd). A record that stands in several
        files counts once.
      - The module reads raw and enriched logs of C(auditd), and copies of them by syslog, the journal, C(grep) and collectors; see
        R(Logs that can be read, ansible_collections.virtaudit.qemu.docsite.logs). RV(stats.unread), the warnings and
        the finding V(unread_records) tell what could not be read.
      - The logs must be of one host, unless each line names its node or its host.
      - The module reads rotated files of one directory, such as C(audit.log.2) or C(audit.log-20260131.gz), in the
        order of their numbers or dates, and all others in the order of the times of their first records.
      - By default the module reads the host's own log and its rotated files.
    type: list
    elements: path
  since:
    description:
      - Leave out findings, sessions and events from before this time. RV(grants) has all that VMs hold, however old it is.
      - ISO 8601, in the host's time zone unless it has an offset, or seconds since the epoch.
    type: str
  until:
    description: Read the trail as it was at this time. The same forms as O(since).
    type: str
  events:
    description:
      - Whether to return the records too, and the resources, AVC and anomaly records of each session. The result then
        grows with the log. Use O(since), or ask for one VM.
    type: bool
    default: false
  history:
    description:
      - Whether to return in RV(history) who held which NIC from when to when. The module reads all of the logs for that.
    type: bool
    default: false
  verify:
    description:
      - Whether to compare the trail with the host as it is now. The module looks at the network devices that C(/proc)
        shows for every qemu, whoever started it, at taps and macvtaps without a VM in the task's network namespace, and
        at the number of records that the kernel has lost.
      - The module refuses O(logs) that name only other hosts. It takes O(logs) that name no host for those of this
        host, and warns.
    type: bool
    default: false
requirements:
  - Linux with audit
  - Python 3.9 or newer
  - root for the host's own logs and for O(verify)
author:
  - virtaudit contributors (@virtaudit)
seealso:
  - module: virtaudit.qemu.vm_net_attach
  - module: virtaudit.qemu.vm_net_detach
"""

EXAMPLES = r"""
---
- name: Which VM holds which device, and is it true
  virtaudit.qemu.vm_net_audit_info:
    verify: true
  register: trail

- name: Fail when something holds a device that nobody recorded
  ansible.builtin.assert:
    that:
      - trail.findings | selectattr('code', 'in', ['unrecorded_fd', 'unrecorded_open']) | length == 0

- name: What web01 holds
  virtaudit.qemu.vm_net_audit_info:
    name: web01

- name: The history of a MAC address in January, from logs that were kept
  virtaudit.qemu.vm_net_audit_info:
    mac: '52:54:00:00:00:01'
    since: '2026-01-01'
    until: '2026-02-01'
    events: true
    logs:
      - /srv/audit/hv1/audit.log.2.gz
      - /srv/audit/hv1/audit.log.1

- name: Who held a MAC address from when to when, from all logs that were kept
  virtaudit.qemu.vm_net_audit_info:
    mac: '52:54:00:00:00:01'
    history: true
    logs:
      - /srv/audit/hv1/
"""

RETURN = r"""
asked:
  description: What was asked for, and so what the answer covers.
  returned: once the options are understood
  type: dict
  contains:
    name:
      description: Only this VM, null for all.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Only this VM, null for all.
      type: str
      returned: always
    mac:
      description: Only this NIC, null for all.
      type: str
      returned: always
    since:
      description: The option O(since) in UTC.
      type: str
      returned: always
      sample: '2026-11-23T07:00:00.000Z'
    until:
      description: The option O(until) in UTC.
      type: str
      returned: always
    own_logs:
      description: Whether the host's own logs were read, not those of O(logs).
      type: bool
      returned: always
    as_of:
      description:
        - When the reading of the logs began, by the host's clock, in UTC. What was recorded later may be missing from the
          answer.
      type: str
      returned: always
      sample: '2026-11-23T08:00:00.000Z'
grants:
  description: Which VM holds which devices, the oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The host, where the log names it.
      type: str
      returned: always
      sample: hv1
    vm:
      description: The VM's name.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID.
      type: str
      returned: always
      sample: 7f3a6fc8-0f5c-5f0e-8f55-1c1f0a8f2f11
    mac:
      description: The NIC's MAC address.
      type: str
      returned: always
      sample: 52:54:00:00:00:01
    since:
      description: When it was handed over, in UTC.
      type: str
      returned: always
      sample: '2026-11-23T07:55:06.303Z'
    auid:
      description: The login identity of who did it, null for a daemon.
      type: int
      returned: always
      sample: 1000
    ses:
      description: The login session, null for a daemon.
      type: int
      returned: always
      sample: 3
    exe:
      description: The program that says that it did it.
      type: str
      returned: always
      sample: /usr/bin/python3.11
    event:
      description: The event of the start or attach.
      type: str
      returned: always
      sample: '1795420506.303:193'
    devices:
      description:
        - The devices that were opened for it, one for each queue and each vhost-net. libvirt records one for all queues.
        - All but RV(grants[].devices[].fd) is null when the logs do not have the open any more.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The node, or for libvirt's macvtap the interface.
          type: str
          returned: always
          sample: /dev/net/tun
        rdev:
          description: Its device number in hex, as C(MAJOR:MINOR).
          type: str
          returned: always
          sample: 0A:C8
        dev:
          description: The interface that it serves, null where libvirt opened it.
          type: str
          returned: always
          sample: vt525400000001
        fd:
          description: The number of the file descriptor in qemu, null where libvirt opened it.
          type: int
          returned: always
          sample: 31
        event:
          description: The event of its open.
          type: str
          returned: always
          sample: '1795420505.795:180'
    live:
      description: Whether the VM's qemu holds the devices now; null when that was not looked at.
      type: bool
      returned: always
    network:
      description: What the NIC is on since its last start, attach or update, null where the records do not say it.
      type: dict
      returned: always
      contains: &network
        source:
          description: The bridge, switch or lower device.
          type: str
          returned: always
          sample: br0
        vlan:
          description: Its VLAN, null without one.
          type: str
          returned: always
          sample: '42'
        filter:
          description: Its packet filter, V(mac) or V(address), null without one.
          type: str
          returned: always
          sample: address
        isolated:
          description: V(yes) where it is isolated from other ports, null where it is not.
          type: str
          returned: always
        link:
          description: V(up) or V(down), null where no record changed it.
          type: str
          returned: always
    ticket:
      description: The ticket of the task that handed it over or changed its network last, null where none gave one.
      type: str
      returned: always
      sample: CHG-1234
history:
  description:
    - Who held which NIC on which network from when to when, the oldest first.
    - A hand-over begins an entry, and so does an update of the network; each ends the entry before it. What one task
      changes of a NIC, in several records, is one update.
  returned: with O(history)
  type: list
  elements: dict
  contains:
    node:
      description: The host, where the log names it.
      type: str
      returned: always
    vm:
      description: The VM's name.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID.
      type: str
      returned: always
    mac:
      description: The NIC's MAC address.
      type: str
      returned: always
      sample: 52:54:00:00:00:01
    network:
      description: What the NIC was on, null where the records do not say it.
      type: dict
      returned: always
      contains: *network
    ifname:
      description: The interface on the host, null where libvirt opened it.
      type: str
      returned: always
      sample: vt525400000001
    since:
      description: When it was handed over, or put on this network, in UTC.
      type: str
      returned: always
      sample: '2026-11-23T07:55:06.303Z'
    until:
      description:
        - When it was put on another network or given back, or the VM or the host ended, in UTC; null while it is held.
      type: str
      returned: always
    auid:
      description: The login identity of who handed it over, or put it on this network, null for a daemon.
      type: int
      returned: always
    ticket:
      description: The last ticket that was given for it until then, null where none was.
      type: str
      returned: always
      sample: CHG-1234
    event:
      description: The event of the hand-over, or of the update.
      type: str
      returned: always
    end_event:
      description: The event that ended it, null while it is held; of a boot the first event after it.
      type: str
      returned: always
findings:
  description: What should not be, the worst first.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - V(unclaimed_open), a device was opened for a VM, never handed over, and not closed on record.
        - V(failed_open), V(failed_start), V(failed_detach), a task or libvirt said so.
        - V(unrecorded_open), the kernel saw an open that nobody recorded.
        - V(unrecorded_fd), a qemu holds a device that the trail does not know.
        - V(stale_grant), the trail says held, and qemu does not hold it.
        - V(leaked_device), a tap or macvtap without a VM.
        - V(audit_lost), the kernel lost records.
        - V(failed_prepare), a VLAN, a filter or a port's flag could not be set before the hand-over; the message says
          what followed.
        - V(moved_port), with O(verify) a link that is not on the bridge or lower device of its record.
        - V(missing_filter), with O(verify) a NIC whose record says that it has a packet filter, and the host has none for it.
        - V(untrusted_record), a record of a VM that not root sent; it is left out.
        - V(unread_records), lines of a log with records of VMs that could not be read; RV(findings[].path) is the log.
      type: str
      returned: always
      sample: stale_grant
    severity:
      description: V(high), V(medium) or V(low). What is over is V(low).
      type: str
      returned: always
      sample: medium
    message:
      description: What it is, what it means and what to do.
      type: str
      returned: always
    time:
      description: When it came up, in UTC; for what the host shows, when that was looked at.
      type: str
      returned: always
      sample: '2026-11-23T07:55:11.779Z'
    events:
      description: The events that it rests on, at most 20.
      type: list
      elements: str
      returned: always
      sample: ['1795420511.779:209']
    node:
      description: The host, where the log names it.
      type: str
      returned: always
    vm:
      description: The VM's name, null where none is known.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID, null where none is known.
      type: str
      returned: always
    mac:
      description: The NIC's MAC address, null where none is known.
      type: str
      returned: always
    dev:
      description: The interface, null where none is known.
      type: str
      returned: always
      sample: vt525400000001
    path:
      description: The device, null where none is known.
      type: str
      returned: always
      sample: /dev/net/tun
    pid:
      description: The process, null where none is known.
      type: int
      returned: always
      sample: 4711
    fd:
      description: The file descriptor, null where none is known.
      type: int
      returned: always
      sample: 31
    exe:
      description: The program, null where none is known.
      type: str
      returned: always
      sample: /usr/bin/ip
    auid:
      description: The login identity, null where none is known or set.
      type: int
      returned: always
      sample: 1000
sessions:
  description: The runs of VMs, as C(auvirt) of audit 3 told them, in the order of their starts.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The host, where the log names it.
      type: str
      returned: always
    vm:
      description: The VM's name.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID.
      type: str
      returned: always
    user:
      description: The name of RV(sessions[].uid), where the log has it.
      type: str
      returned: always
      sample: root
    uid:
      description: The user who started it.
      type: int
      returned: always
      sample: 0
    auid:
      description: The login identity of who started it, null for a daemon.
      type: int
      returned: always
    ses:
      description: The login session, null for a daemon.
      type: int
      returned: always
    exe:
      description: The program that says that it started it.
      type: str
      returned: always
    pid:
      description: The process of qemu.
      type: int
      returned: always
      sample: 4711
    start:
      description: When it was started, in UTC.
      type: str
      returned: always
    stop:
      description: When it was stopped, in UTC; null when no stop is on record.
      type: str
      returned: always
    end:
      description:
        - V(running), V(stopped), V(failed) for a start that failed, or V(lost) when no stop is on record and the VM was
          started anew or the host booted.
      type: str
      returned: always
      sample: stopped
    reason:
      description: The reason of the stop.
      type: str
      returned: always
      sample: destroyed
    ticket:
      description: The ticket of the task that started it, null where it gave none.
      type: str
      returned: always
      sample: CHG-1234
    events:
      description: The events of start and stop.
      type: list
      elements: str
      returned: always
    resources:
      description: What it had. Without O(events), only its NICs. An open stands here as a resource too.
      type: list
      elements: dict
      returned: always
      contains:
        type:
          description: The type, as C(net), C(disk), C(mem), C(vcpu), C(cgroup), C(dev), C(tpm), C(shmem) or C(evdev).
          type: str
          returned: always
          sample: net
        reason:
          description: The record's reason.
          type: str
          returned: always
          sample: start
        resource:
          description: The MAC address of a NIC, or the device or path of a device that is passed through.
          type: str
          returned: always
          sample: 52:54:00:00:00:01
        path:
          description: The device of an open, or of a cgroup's rule.
          type: str
          returned: always
        dev:
          description: The interface on the host, null where libvirt opened it.
          type: str
          returned: always
        network:
          description: What a NIC was on last, null where the records do not say it.
          type: dict
          returned: always
          contains: *network
        success:
          description: Whether it was given.
          type: bool
          returned: always
        start:
          description: When it was given, in UTC.
          type: str
          returned: always
        end:
          description: When it was taken back or the VM stopped, in UTC; null before that, and for an open.
          type: str
          returned: always
        event:
          description: The event.
          type: str
          returned: always
    alerts:
      description: AVC and anomaly records of it, with O(events).
      type: list
      elements: dict
      returned: always
      contains:
        type:
          description: The record's type.
          type: str
          returned: always
          sample: ANOM_ABEND
        time:
          description: When, in UTC.
          type: str
          returned: always
        event:
          description: The event.
          type: str
          returned: always
        result:
          description: As V(denied).
          type: str
          returned: always
        operation:
          description: What was tried.
          type: str
          returned: always
        command:
          description: The command that tried.
          type: str
          returned: always
        target:
          description: On what.
          type: str
          returned: always
        pid:
          description: The process.
          type: int
          returned: always
events:
  description: The records, decoded, in the order in which they stand in the logs. One that stands in two of them is here twice.
  returned: with O(events)
  type: list
  elements: dict
  contains:
    type:
      description: The record's type.
      type: str
      returned: always
      sample: VIRT_RESOURCE
    event:
      description: The event, as seconds, milliseconds and serial number.
      type: str
      returned: always
      sample: '1795420505.795:180'
    node:
      description: The host, where the log names it.
      type: str
      returned: always
    pid:
      description: The process that sent it.
      type: int
      returned: always
    uid:
      description: Its user.
      type: int
      returned: always
    auid:
      description: Its login identity, null where none is set.
      type: int
      returned: always
    ses:
      description: Its login session, null where none is set.
      type: int
      returned: always
    fields:
      description: The fields of the record; a missing value is null.
      type: dict
      returned: always
stats:
  description: What was read.
  returned: always
  type: dict
  contains:
    files:
      description: The logs, oldest first.
      type: list
      elements: str
      returned: always
      sample: [/var/log/audit/audit.log.1, /var/log/audit/audit.log]
    unread:
      description: The logs that could not be read, or not to their end, and the lines with records of VMs that could not be.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The log.
          type: str
          returned: always
        problem:
          description: Why.
          type: str
          returned: always
        lines:
          description: How many lines that is.
          type: int
          returned: for lines, not for a log as a whole
        line:
          description: The number of the first such line.
          type: int
          returned: for lines, not for a log as a whole
    first:
      description: The time of the first record in the logs, in UTC; null without one.
      type: str
      returned: always
      sample: '2026-11-01T00:00:03.120Z'
    last:
      description: The time of the last record in the logs, in UTC; null without one.
      type: str
      returned: always
      sample: '2026-11-23T08:00:00.000Z'
    bytes:
      description: The size of the logs in bytes; with O(name), O(uuid) or O(mac) not all of it is read.
      type: int
      returned: always
    records:
      description: The records that mattered, each once.
      type: int
      returned: always
    elapsed:
      description: How long it took, in seconds.
      type: float
      returned: always
"""

import functools

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtaudit.qemu.plugins.module_utils._bytecode import (
    use_kept_bytecode,
)


def main() -> None:
    """Run the module."""
    use_kept_bytecode()
    # Imported only now, from the bytecode that the host keeps.
    from ansible_collections.virtaudit.qemu.plugins.module_utils._argspec import (
        audit_info_options,
    )
    from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.audit_info import (
        run,
    )
    from ansible_collections.virtaudit.qemu.plugins.module_utils._task.reader import (
        run_reader,
    )

    module = AnsibleModule(argument_spec=audit_info_options(), supports_check_mode=True)
    # Check mode writes nothing, not even what speeds up the next time.
    run_reader(module, functools.partial(run, keep_index=not module.check_mode))


if __name__ == "__main__":
    main()
