#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_net_detach
short_description: Take network interfaces from a VM, and record which devices it gave up
version_added: 1.0.0
description:
  - Unplugs network interfaces from a running VM with its guest's help, closes their host side, and writes audit
    records of the detach and of every device that qemu gave up.
  - The module reports a detach, and records it as a success, only if C(/proc) shows that qemu no longer holds the
    devices.
  - At its beginning the module records the ends of other VMs of this collection on the host that nobody has recorded
    yet, and warns that this is late.
  - The module warns of a MAC address that neither the VM nor its records ever had, and of a VM that neither the host
    nor its audit logs know. A revocation with a typo must not be silent.
  - If the guest does not release the NIC in time, the task fails, closes nothing, and returns V(pending) in
    RV(interfaces[].action). A later run finishes the detach.
extends_documentation_fragment:
  - virtaudit.qemu._vm
  - virtaudit.qemu._vm.attributes
options:
  macs:
    description:
      - The MAC addresses of the interfaces, or V(all).
      - Required unless O(stop_vm) stops the VM. A VM that ends gives up all of its interfaces.
    type: list
    elements: str
  force:
    description:
      - Whether to close the host side at once, even if the guest does not release its NIC. A guest that runs gets one
        more second to release the NIC. Then the module stops the guest's CPUs for some milliseconds and removes the NIC
        from the machine, so that its MAC address and its port are free. The guest may show a dead interface until its
        next boot.
      - A newer qemu (10.0, and updates of 8.2 and 9) keeps the devices as long as the NIC is in the machine. There the
        module removes the NIC from the machine at once.
      - If the module cannot remove the NIC from the machine (no ACPI hot-plug), the result depends on the version of qemu.
        An older qemu closes the host side. The guest keeps a NIC without a network until the guest releases the NIC or is
        reset, and the task warns of that. With a newer qemu the task fails and closes nothing, so the VM keeps its
        network. To take the network from the VM in this case, use O(stop_vm=destroy).
    type: bool
    default: false
  stop_vm:
    description:
      - Whether to stop the VM. A VM that stops gives up all its interfaces, whatever O(macs) names.
      - V(shutdown) presses the guest's power button and waits for the guest. A guest that is not up yet misses that, so
        the task presses it again every 10 seconds until O(timeout). V(destroy) ends qemu.
      - V(destroy) also ends a qemu whose monitor does not answer within O(timeout), if the host has noted its process
        because the VM got NICs from this collection. In this case the task knows only the NICs of the note, and
        warns of that.
      - V(destroy) also ends a VM for which the task cannot finish the work of an earlier task that was cut off. The task
        warns of that.
    type: str
    choices: [never, shutdown, destroy]
    default: never
  timeout:
    description:
      - How many seconds the task waits for the guest to release a NIC or to shut down, for an answer from qemu, and for
        another task on the same VM to end. At most 86400, which is a day.
    type: float
    default: 20
seealso:
  - module: virtaudit.qemu.vm_net_attach
"""

EXAMPLES = r"""
---
- name: Take one NIC from a VM
  virtaudit.qemu.vm_net_detach:
    name: web01
    macs:
      - '52:54:00:00:00:03'

- name: Cut a VM off at once, whatever its guest does
  virtaudit.qemu.vm_net_detach:
    name: web01
    macs: all
    force: true

- name: Put on record why a NIC is taken
  virtaudit.qemu.vm_net_detach:
    name: web01
    macs:
      - '52:54:00:00:00:03'
    ticket: CHG-1234

- name: Shut a VM down
  virtaudit.qemu.vm_net_detach:
    name: web01
    macs: all
    stop_vm: shutdown
    timeout: 120

- name: End a VM whose guest does not answer
  virtaudit.qemu.vm_net_detach:
    name: web02
    stop_vm: destroy
"""

RETURN = r"""
vm:
  description: The VM.
  returned: once it is known
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: web01
    uuid:
      description: Its UUID.
      type: str
      returned: always
      sample: 7f3a6fc8-0f5c-5f0e-8f55-1c1f0a8f2f11
    pid:
      description: The process id of qemu, null if the VM does not run.
      type: int
      returned: always
      sample: 4711
    qmp_socket:
      description: The path of its monitor, null if the VM does not run.
      type: str
      returned: always
      sample: /run/virtaudit/7f3a6fc8-0f5c-5f0e-8f55-1c1f0a8f2f11/qmp.sock
    unit:
      description:
        - The systemd scope of qemu. It is null if systemd does not run, if the VM does not run, or if another program
          started the VM.
      type: str
      returned: always
      sample: virtaudit-7f3a6fc8-0f5c-5f0e-8f55-1c1f0a8f2f11.scope
interfaces:
  description: The interfaces that the task asked for, and with O(stop_vm) all that the VM had.
  returned: always
  type: list
  elements: dict
  contains:
    mac:
      description: The NIC's MAC address.
      type: str
      returned: always
    action:
      description:
        - V(detached) if the guest released it and its host side is closed; V(revoked) if O(force) closed the host side;
          V(absent) if qemu held none of its devices before the task. If the task stops the VM, each NIC that the VM still
          had is V(detached).
        - V(pending) if the guest did not release it in time and qemu still holds its devices, or if another process
          holds them. The task has failed then.
      type: str
      returned: always
    pending:
      description: Whether the guest still has the NIC, or another process still holds one of its devices.
      type: bool
      returned: always
    released:
      description: The devices that qemu gave up.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The node that had been opened.
          type: str
          returned: always
          sample: /dev/net/tun
        rdev:
          description: Its device number in hex, as C(MAJOR:MINOR).
          type: str
          returned: always
          sample: 0A:C8
        dev:
          description: The tap or macvtap that it served.
          type: str
          returned: always
          sample: vt525400000001
        fd:
          description: The number that the file descriptor had in qemu.
          type: int
          returned: always
          sample: 31
        event:
          description: The audit event of its open, or null if it is not known.
          type: str
          returned: always
          sample: '1795420505.795:180'
audit:
  description: The records that this task wrote, in the form of RV(virtaudit.qemu.vm_net_attach#module:audit).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.virtaudit.qemu.plugins.module_utils._bytecode import (
    use_kept_bytecode,
)


def main() -> None:
    """Run the module."""
    use_kept_bytecode()
    # Imported only now, from the bytecode that the host keeps.
    from ansible_collections.virtaudit.qemu.plugins.module_utils._argspec import (
        audit_options,
        detach_options,
        vm_options,
    )
    from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.detach import run
    from ansible_collections.virtaudit.qemu.plugins.module_utils._task.edge import (
        run_module,
    )

    module = AnsibleModule(
        argument_spec={**vm_options(timeout=20), **audit_options(), **detach_options()},
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
