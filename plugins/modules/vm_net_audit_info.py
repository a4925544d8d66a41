#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_net_audit_info
short_description: Tell from the audit logs which VM holds which network device, since when, and who gave it
version_added: 1.0.0
description:
  - Reads the logs of the audit daemon, and tells which VM holds which network devices. It also returns findings, which
    are things that should not be. Each finding names the events that it rests on.
  - Reads the records of libvirt and those of this collection.
  - With O(name), O(uuid) or O(mac) the module reads the logs backwards. It stops at the start of the VM's last run or
    at the boot of the host, unless O(since) or O(verify) asks for more. A name then means the VM that had the name
    last, and a MAC address means all VMs that had it since the host booted.
  - If audit rules let the kernel record opens of C(/dev/net/tun), C(/dev/vhost-net), macvtap nodes and vhost-vdpa nodes,
    or V(TUNSETIFF), and you do not ask for a single VM, the module compares these with the records of the programs that opened the devices.
    The rules on a 64-bit x86 host, with any key, are V(-a always,exit -F arch=b64 -F path=/dev/net/tun -F perm=rw), the
    same for C(/dev/vhost-net), V(-a always,exit -F arch=b64 -S open,creat,openat,openat2,open_by_handle_at -F
    devmajor=N) with the C(N) of macvtap and of vhost-vdpa in C(/proc/devices), and V(-a always,exit -F arch=b64 -S ioctl -F a1=0x400454ca).
  - The module puts events in order by the kernel's serial numbers, so a clock that was set back does no harm.
  - The kernel writes into each record which user sent it. A record that a user other than root sent proves nothing. It
    changes no grant, and it is a finding. The same is true of a V(SYSTEM_BOOT) record that such a user sent, and of a
    V(SYSTEM_SHUTDOWN) record of such a user at the end of the logs.
  - If root asks for one VM or NIC, and the search goes far back in a large log of C(auditd), the module keeps an index of
    the log in C(/var/cache/virtaudit). With it, the module quickly finds a VM that was started long ago. It makes an
    index only of a log that is not compressed and has at least 64 MiB, and only without O(events). You can delete the
    index at any time. In check mode the module writes no index.
  - All grants end when the host boots. The module recognises a boot by serial numbers that start again, with or without
    a V(SYSTEM_BOOT) record. A container also writes such a record, but the host's serial numbers go on, so the module
    ignores that record.
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
      - The log files to read, in any order. An item can also be a directory, a glob or a tar archive of logs. The
        module unpacks files of C(gzip), C(xz), C(bzip2) and, if it is installed, C(zstd). A record that is in several
        files counts once.
      - The module reads raw and enriched logs of C(auditd), and copies of them that syslog, the journal, C(grep) and
        collectors made; see R(Logs that can be read, ansible_collections.virtaudit.qemu.docsite.logs).
        RV(stats.unread), the warnings and the finding V(unread_records) tell what the module could not read.
      - The logs must be of one host, unless each line names its node or its host.
      - The module reads rotated files of one directory, such as C(audit.log.2) or C(audit.log-20260131.gz), in the
        order of their numbers or dates, and all others in the order of the times of their first records.
      - By default the module reads the host's own log and its rotated files.
    type: list
    elements: path
  since:
    description:
      - Leave out findings, sessions and events from before this time, and entries of RV(history) that ended before it.
        RV(grants) has everything that VMs hold, however old it is.
      - ISO 8601, in the host's time zone unless it has an offset, or seconds since the epoch.
    type: str
  until:
    description: Read the trail as it was at this time. Takes the same forms as O(since).
    type: str
  events:
    description:
      - Whether to return the records too, and the resources, AVC and anomaly records of each session. The result then
        grows with the log, so use O(since), or ask for one VM.
    type: bool
    default: false
  history:
    description:
      - Whether to return in RV(history) who held which NIC from when to when. The module then reads all of the logs.
    type: bool
    version_added: 1.1.0
    default: false
  verify:
    description:
      - Whether to compare the trail with the host as it is now. The module looks at the network devices that
        C(/proc) shows for every qemu, whoever started it; at the bridge or lower device and the packet filter of each NIC on
        record; at the taps and macvtaps in the task's network namespace that no VM holds; and at the number of records that
        the kernel has lost.
      - The module refuses O(logs) that name only other hosts. If O(logs) name no host, the module assumes that they are
        of this host, and warns.
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
- name: Tell which VM holds which device, and compare that with the host
  virtaudit.qemu.vm_net_audit_info:
    verify: true
  register: trail

- name: Fail when something holds a device that nobody recorded
  ansible.builtin.assert:
    that:
      - trail.findings | selectattr('code', 'in', ['unrecorded_fd', 'unrecorded_open']) | length == 0

- name: Tell what web01 holds
  virtaudit.qemu.vm_net_audit_info:
    name: web01

- name: Read what happened to a MAC address in January, from logs that were kept
  virtaudit.qemu.vm_net_audit_info:
    mac: '52:54:00:00:00:01'
    since: '2026-01-01'
    until: '2026-02-01'
    events: true
    logs:
      - /srv/audit/hv1/audit.log.2.gz
      - /srv/audit/hv1/audit.log.1

- name: Tell who held a MAC address from when to when, from all logs that were kept
  virtaudit.qemu.vm_net_audit_info:
    mac: '52:54:00:00:00:01'
    history: true
    logs:
      - /srv/audit/hv1/
"""

RETURN = r"""
asked:
  description: What the task asked for, and so what the answer covers.
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
      description: Whether the module read the host's own logs, and not those of O(logs).
      type: bool
      returned: always
    boot:
      description:
        - The time of the first record since the last boot of the host, in UTC. The module looked at no record from before
          it.
      type: str
      returned: if the answer goes back only to the last boot
    as_of:
      description:
        - When the module began to read the logs, by the host's clock, in UTC. The answer may lack what was recorded
          later.
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
      description: The host, if the log names it.
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
      description: When the NIC was handed over, in UTC.
      type: str
      returned: always
      sample: '2026-11-23T07:55:06.303Z'
    auid:
      description: The login identity of the user who did it, null for a daemon.
      type: int
      returned: always
      sample: 1000
    ses:
      description: The login session, null for a daemon.
      type: int
      returned: always
      sample: 3
    exe:
      description: The program that wrote the record.
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
        - The devices that were opened for the NIC, one for each queue and each vhost-net. libvirt records one for all
          queues.
        - All values but RV(grants[].devices[].fd) are null if the logs no longer have the record of the open.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The node that was opened. For a macvtap that libvirt opened, the interface.
          type: str
          returned: always
          sample: /dev/net/tun
        rdev:
          description: Its device number in hex, as C(MAJOR:MINOR).
          type: str
          returned: always
          sample: 0A:C8
        dev:
          description: The tap or macvtap that it serves, or null if libvirt opened it.
          type: str
          returned: always
          sample: vt525400000001
        fd:
          description: The number of the file descriptor in qemu, or null if libvirt opened it.
          type: int
          returned: always
          sample: 31
        event:
          description: The event of its open.
          type: str
          returned: always
          sample: '1795420505.795:180'
    live:
      description: Whether the VM's qemu holds the devices now; null if the module did not look.
      type: bool
      returned: always
    network:
      description: The network that the NIC has been on since its last start, attach or update, or null if the records
        do not tell it.
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
          description: V(yes) if the NIC is isolated from other ports, null if it is not.
          type: str
          returned: always
        link:
          description: V(down) while the NIC is in quarantine, null if its link is up.
          type: str
          returned: always
    ticket:
      description: The ticket of the last task that handed the NIC over or changed its network and gave a ticket; null
        if there is none.
      type: str
      returned: always
      sample: CHG-1234
history:
  description:
    - Who held which NIC on which network from when to when, the oldest first.
    - Each hand-over and each update of the network begins an entry. Each ends the entry before it. If one task
      changes several values of a NIC, it writes several records, and these count as one update.
  returned: with O(history)
  type: list
  elements: dict
  contains:
    node:
      description: The host, if the log names it.
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
      description: The network that the NIC was on, or null if the records do not tell it.
      type: dict
      returned: always
      contains: *network
    ifname:
      description: The interface on the host, or null if libvirt opened it.
      type: str
      returned: always
      sample: vt525400000001
    since:
      description: When the NIC was handed over or put on this network, in UTC.
      type: str
      returned: always
      sample: '2026-11-23T07:55:06.303Z'
    until:
      description:
        - When the NIC was put on another network or given back, or when the VM or the host ended, in UTC; null while
          the VM holds the NIC.
      type: str
      returned: always
    auid:
      description: The login identity of the user who handed the NIC over or put it on this network, null for a daemon.
      type: int
      returned: always
    ticket:
      description: The last ticket that a task gave for the NIC until then; null if there is none.
      type: str
      returned: always
      sample: CHG-1234
    event:
      description: The event of the hand-over, or of the update.
      type: str
      returned: always
    end_event:
      description: The event that ended the entry; null while the VM holds the NIC. If a boot ended it, the first event
        after the boot.
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
        - V(unclaimed_open), a device was opened for a VM and never handed over, and no record says that it was closed.
        - V(failed_open), V(failed_start), V(failed_detach), a task or libvirt recorded the failure.
        - V(unrecorded_open), the kernel recorded an open that no program recorded.
        - V(unrecorded_fd), with O(verify), a qemu holds a device that the trail does not know.
        - V(stale_grant), with O(verify), the trail says that a VM holds a device, and its qemu does not hold it.
        - V(leaked_device), with O(verify), a tap or macvtap exists that no VM holds, or that another process holds beside a
          VM.
        - V(audit_lost), with O(verify), the kernel lost records.
        - V(failed_prepare), a VLAN, a filter or a port's flag could not be set before the hand-over; the message says
          what happened then.
        - V(moved_port), with O(verify), a link is not on the bridge or lower device of its record, or is gone.
        - V(missing_filter), with O(verify), the record of a NIC says that it has a packet filter, and the host has none
          for it.
        - V(untrusted_record), a user other than root sent a record of a VM, or a record that says that the host booted
          or shut down; the module ignores that record.
        - V(unread_records), the module could not read some lines of a log that have records of VMs; RV(findings[].path)
          is the log.
      type: str
      returned: always
      sample: stale_grant
    severity:
      description: V(high), V(medium) or V(low). A finding that is over is V(low).
      type: str
      returned: always
      sample: medium
    message:
      description: What was found, what it means, and what to do.
      type: str
      returned: always
    time:
      description: When it happened, in UTC. For a finding from O(verify), when the module looked at the host.
      type: str
      returned: always
      sample: '2026-11-23T07:55:11.779Z'
    events:
      description: The events that the finding rests on, at most 20.
      type: list
      elements: str
      returned: always
      sample: ['1795420511.779:209']
    node:
      description: The host, if the log names it.
      type: str
      returned: always
    vm:
      description: The VM's name, or null if it is not known.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID, or null if it is not known.
      type: str
      returned: always
    mac:
      description: The NIC's MAC address, or null if it is not known.
      type: str
      returned: always
    dev:
      description: The interface, or null if it is not known.
      type: str
      returned: always
      sample: vt525400000001
    path:
      description: The device, or null if it is not known.
      type: str
      returned: always
      sample: /dev/net/tun
    pid:
      description: The process, or null if it is not known.
      type: int
      returned: always
      sample: 4711
    fd:
      description:
        - The file descriptor, or null if it is not known. For V(unread_records) it is the number of the first line that the
          module could not read.
      type: int
      returned: always
      sample: 31
    exe:
      description: The program, or null if it is not known.
      type: str
      returned: always
      sample: /usr/bin/ip
    auid:
      description: The login identity; null if it is unknown or unset.
      type: int
      returned: always
      sample: 1000
sessions:
  description: The runs of VMs in the order of their starts, in the way of C(auvirt) of audit 3.
  returned: always
  type: list
  elements: dict
  contains:
    node:
      description: The host, if the log names it.
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
      description: The name of RV(sessions[].uid), if the log has it.
      type: str
      returned: always
      sample: root
    uid:
      description: The user who started it.
      type: int
      returned: always
      sample: 0
    auid:
      description: The login identity of the user who started it, null for a daemon.
      type: int
      returned: always
    ses:
      description: The login session, null for a daemon.
      type: int
      returned: always
    exe:
      description: The program that recorded the start.
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
      description: When it stopped, in UTC; null if no stop is on record.
      type: str
      returned: always
    end:
      description:
        - V(running); V(stopped); V(failed) if the start failed; or V(lost) if no stop is on record, and the VM was
          started again or the host booted.
      type: str
      returned: always
      sample: stopped
    reason:
      description: The reason of the stop.
      type: str
      returned: always
      sample: destroyed
    ticket:
      description: The ticket of the task that started the VM; null if the task gave none.
      type: str
      returned: always
      sample: CHG-1234
    events:
      description: The events of start and stop.
      type: list
      elements: str
      returned: always
    resources:
      description: What the VM had. Without O(events), only its NICs. An open counts as a resource too.
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
          description: The MAC address of a NIC, or the name or path of a device that the host passes through.
          type: str
          returned: always
          sample: 52:54:00:00:00:01
        path:
          description: The device that an open or a rule of a cgroup is about.
          type: str
          returned: always
        dev:
          description: The interface on the host, or null if libvirt opened it.
          type: str
          returned: always
        network:
          description: The network that a NIC was on last, or null if the records do not tell it.
          type: dict
          returned: always
          contains: *network
        success:
          description: Whether the VM got it.
          type: bool
          returned: always
        start:
          description: When the VM got it, in UTC.
          type: str
          returned: always
        end:
          description: When it was taken back or the VM stopped, in UTC; null before that, and null for an open.
          type: str
          returned: always
        event:
          description: The event.
          type: str
          returned: always
    alerts:
      description: The AVC and anomaly records of the VM, with O(events).
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
          description: When it happened, in UTC.
          type: str
          returned: always
        event:
          description: The event.
          type: str
          returned: always
        result:
          description: The result, such as V(denied).
          type: str
          returned: always
        operation:
          description: What was tried.
          type: str
          returned: always
        command:
          description: The command that tried it.
          type: str
          returned: always
        target:
          description: What the command tried it on.
          type: str
          returned: always
        pid:
          description: The process.
          type: int
          returned: always
events:
  description: The records, decoded, in the order in which the logs have them. A record that is in two logs is here
    twice.
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
      description: The host, if the log names it.
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
      description: Its login identity, or null if it is not set.
      type: int
      returned: always
    ses:
      description: Its login session, or null if it is not set.
      type: int
      returned: always
    fields:
      description: The fields of the record; a missing value is null.
      type: dict
      returned: always
stats:
  description: What the module read.
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
      description: The logs that the module could not read to their end, and the lines with records of VMs that it could
        not read.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The log.
          type: str
          returned: always
        problem:
          description: Why the module could not read it.
          type: str
          returned: always
        lines:
          description: How many lines the module could not read.
          type: int
          returned: for lines, not for a log as a whole
        line:
          description: The number of the first such line.
          type: int
          returned: for lines, not for a log as a whole
    first:
      description: The time of the first record in the logs, in UTC; null if there is none.
      type: str
      returned: always
      sample: '2026-11-01T00:00:03.120Z'
    last:
      description: The time of the last record in the logs, in UTC; null if there is none.
      type: str
      returned: always
      sample: '2026-11-23T08:00:00.000Z'
    bytes:
      description: The size of the logs in bytes. With O(name), O(uuid) or O(mac) the module does not read all of it.
      type: int
      returned: always
    records:
      description: How many records mattered, each counted once.
      type: int
      returned: always
    elapsed:
      description: How many seconds the module took.
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
    # Check mode writes nothing, and so no index either.
    run_reader(module, functools.partial(run, keep_index=not module.check_mode))


if __name__ == "__main__":
    main()
