#!/usr/bin/python

# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_net_attach
short_description: Give a VM its network interfaces as audited file descriptors
version_added: 1.0.0
description:
  - Opens the network devices of a VM on the host (C(/dev/net/tun), the C(/dev/tapN) of a macvtap, C(/dev/vhost-net),
    C(/dev/vhost-vdpa-N)),
    writes a Linux audit record for each open, and hands the file descriptors to qemu.
  - If the VM does not run, the module starts it with all of the interfaces or not at all. If the VM runs, the module
    hot-plugs them in one pass. If one of them cannot be opened or prepared, qemu gets none of them. If qemu refuses one of
    them, the NICs before it stay attached and the task returns them, and the module closes the devices of those behind it.
  - qemu gets no device before the record of its open is proved to be in the audit log, see O(audit).
  - Put all interfaces of a VM into one task. One task is also many times faster than a loop.
  - Where systemd runs, a VM that the module starts gets a companion unit. The unit records the end of the VM if no task
    asks for that end.
  - At its beginning the module records the ends of other VMs of this collection on the host that nobody has recorded
    yet, and warns that this is late.
extends_documentation_fragment:
  - virtaudit.qemu._vm
  - virtaudit.qemu._vm.attributes
options:
  interfaces:
    description:
      - The network interfaces (NICs) that the VM is to have. The module leaves other NICs of the VM alone, unless
        O(exclusive=true).
    type: list
    elements: dict
    required: true
    suboptions:
      mac:
        description: The NIC's MAC address. It identifies the interface.
        type: str
        required: true
      type:
        description:
          - V(bridge) makes a tap that is a port of the bridge O(interfaces[].source).
          - V(direct) makes a macvtap on the network device O(interfaces[].source).
          - V(openvswitch) makes a tap that is a port of the bridge O(interfaces[].source) of Open vSwitch. The port and all
            its settings are one transaction in the switch's database. The module removes the port's row when the VM gives
            the NIC up.
          - V(vdpa) opens the node of the vdpa device O(interfaces[].source), which qemu drives without a link of the host. It
            needs qemu 7.2 or newer and a virtio-net model. The host does not see the frames, so no option that is about
            them applies. Set the device's MAC to O(interfaces[].mac) before (C(vdpa dev config)). No real vdpa device was
            there to test it with.
        type: str
        choices: [bridge, direct, openvswitch, vdpa]
        default: bridge
      source:
        description:
          - The bridge, the lower device, or the vdpa device by its name or by the path of its node (C(/dev/vhost-vdpa-0)).
        type: str
        required: true
      mode:
        description:
          - The macvtap's mode, with O(interfaces[].type=direct) only. The default is V(vepa).
          - V(passthrough) gives the whole lower device to the VM.
        type: str
        choices: [vepa, bridge, private, passthrough]
      model:
        description: The NIC's model, by the name that qemu has for it.
        type: str
        default: virtio-net-pci
      queues:
        description: Number of queues, 1 to 256. Only virtio-net can have more than one queue.
        type: int
        default: 1
      vhost:
        description:
          - Whether the kernel's vhost-net moves the NIC's frames. A vdpa device moves them itself.
          - V(auto) tries to open C(/dev/vhost-net). If the open fails, the module records the failure and goes on
            without vhost-net.
        type: str
        choices: [auto, required, 'off']
        default: auto
      ifname:
        description: Name of the tap or macvtap, at most 15 bytes. The default is V(vt) followed by the digits of the
          MAC address.
        type: str
      mtu:
        description:
          - MTU in bytes, 68 to 65521 (to 65535 with V(direct)). The link has it, and with virtio-net the guest learns
            it.
          - By default a tap has the MTU of its bridge, and a macvtap has the MTU of its lower device.
          - The bridge keeps its own MTU, whatever MTU its ports have.
        type: int
      vlan:
        description:
          - The VLANs of the NIC. With O(interfaces[].type=bridge) the bridge must have VLAN filtering. The module sets
            the VLANs before the first frame can pass, and removes all others from the port.
          - Without this option the NIC is in the VLAN that the bridge gives to a new port.
          - Without this option a port of Open vSwitch is a trunk of all VLANs, which is the switch's own default.
          - A macvtap is in the VLAN of its lower device. To choose one, give a VLAN device (C(eth0.42)) as
            O(interfaces[].source).
        type: dict
        version_added: 1.1.0
        suboptions:
          tag:
            description: The VLAN of an access port, 1 to 4094. The guest sends and receives frames without a tag, and
              these frames are in this VLAN.
            type: int
          trunk:
            description: The VLANs of a trunk, as tags and ranges of tags (V(10-20)). The guest sends and receives
              frames with these tags.
            type: list
            elements: str
          native:
            description: The VLAN of the guest's untagged frames. It must be one of O(interfaces[].vlan.trunk).
            type: int
      filter:
        description:
          - What the guest may send. The filter is in place before the first frame can pass. It drops every frame that
            it does not name.
          - V(mac) lets IPv4, IPv6 and ARP pass if they have the NIC's own MAC as the source, in the Ethernet header and
            inside ARP and neighbour discovery. It drops all VLAN tags that are not of the NIC's trunk, router
            advertisements, redirects, answers of DHCP servers, frames between switches (BPDUs, LLDP), and neighbour
            discovery behind extension headers or in fragments.
          - V(address) does the same, and lets only O(interfaces[].addresses) pass as the source of IP, ARP and
            neighbour discovery, and as the target of neighbour advertisements. It also lets pass a DHCP client, the
            probe that asks whether an address is free and, if one of the addresses is IPv6, the link-local address that
            is made from the MAC. If a guest makes its link-local address in another way, add that address or
            V(fe80::/10) to O(interfaces[].addresses).
          - If the bridge takes part in the spanning tree, a BPDU that the guest sends disables the guest's port until
            somebody takes the link down and up again.
          - A port of Open vSwitch is filtered before the switch gets the frames. That needs the kernel's datapath. If the
            bridge has C(datapath_type=netdev), the module refuses the filter.
          - The filter is a table of nftables, V(virtaudit_1), or V(virtaudit_1_ingress) for ports of Open vSwitch. It needs
            the Python module C(nftables) (Debian has it as C(python3-nftables)), and with O(interfaces[].type=direct)
            Linux 5.16.
        type: str
        version_added: 1.1.0
        choices: [none, mac, address]
        default: none
      addresses:
        description:
          - The IP addresses and networks that the guest may use, at most 256, with O(interfaces[].filter=address) only.
        type: list
        version_added: 1.1.0
        elements: str
      isolated:
        description:
          - Whether the bridge or the switch passes no frame between this NIC and its other isolated NICs, with
            O(interfaces[].type=bridge) and O(interfaces[].type=openvswitch) only. On a bridge the NIC then also receives
            no unicast frame that is for somebody else.
        type: bool
        version_added: 1.1.0
        default: false
      link:
        description:
          - With V(down) the NIC is in quarantine. The guest sees no carrier, and the host's port passes no frame.
        type: str
        version_added: 1.1.0
        choices: [up, down]
        default: up
      port_profile:
        description: The profile of the port, which the module writes into the port's external_ids as C(port-profile),
          with O(interfaces[].type=openvswitch) only. It has at most 255 bytes. An empty text means no profile.
        type: str
        version_added: 1.1.0
      interface_id:
        description:
          - The UUID by which a controller knows the port (C(iface-id) in its external_ids), with
            O(interfaces[].type=openvswitch) only. By default the module makes it from the MAC.
        type: str
        version_added: 1.1.0
  qemu:
    description:
      - How to start the VM if it does not run. The module ignores this option for a VM that runs, so a change of it
        takes effect when the VM is started the next time. Without this option, the task fails if the VM does not run.
      - qemu keeps running after the task, in its seccomp sandbox. Where systemd runs, qemu is in a systemd scope of its
        own under C(machine.slice).
    type: dict
    suboptions:
      binary:
        description:
          - qemu's name or path.
          - By default the module takes the first that exists of C(/usr/libexec/qemu-kvm), C(qemu-system-) with the
            host's architecture, C(/usr/bin/qemu-kvm) and C(/usr/bin/kvm). The role P(virtaudit.qemu.hypervisor#role)
            tells which one exists in the fact C(hypervisor_qemu_binary).
        type: str
      machine:
        description: Machine type. It must have PCI Express.
        type: str
        default: q35
      accel:
        description: Accelerator. The records say C(virt=kvm) for V(kvm), and C(virt=qemu) for V(tcg).
        type: str
        choices: [kvm, tcg]
        default: kvm
      cpu:
        description: CPU model. By default qemu chooses it.
        type: str
      memory:
        description: Size of the memory, in MiB or with a suffix as in V(4G).
        type: str
        default: '1024'
      vcpus:
        description: Number of virtual CPUs.
        type: int
        default: 1
      args:
        description:
          - Further arguments of qemu, such as those for disks. Each word is an item of its own, because no shell splits
            them.
          - The module refuses arguments that it sets itself, and a UUID in C(-smbios type=1,uuid=). It also refuses
            arguments that give the VM a network device (C(-netdev), C(-device) with a NIC or a device of the host, the
            node of a tap in any option).
          - With O(audit=required) it also refuses arguments that open a second monitor or another way into qemu
            (C(-qmp), C(-monitor), C(-mon), C(-serial mon:), C(-gdb), C(-qtest), C(-plugin)). With another value of
            O(audit) the task warns, and says what these arguments open.
        type: list
        elements: str
        default: []
      user:
        description: The unprivileged user that runs qemu. By default the user of the task, which is root.
        type: str
      paused:
        description: Whether to keep the VM paused before its first instruction.
        type: bool
        default: false
      hotplug_ports:
        description: Number of spare PCIe root ports. Each NIC that you hot-plug later needs one.
        type: int
        default: 8
  exclusive:
    description:
      - Whether the VM is to have no other NICs than O(interfaces). After the module has attached those, it detaches all
        other NICs of the VM with the guest's help, and records that. It only warns of a NIC whose host side is closed
        already and that the guest still shows.
    type: bool
    version_added: 1.1.0
    default: false
  on_mismatch:
    description:
      - What to do when the VM already has a NIC with the MAC, and the NIC differs from what the task asks for.
      - V(update) changes the NIC in place, without the guest's help and with one record for each changed value. It can
        change the bridge, O(interfaces[].vlan), O(interfaces[].filter), O(interfaces[].addresses),
        O(interfaces[].isolated), O(interfaces[].link), O(interfaces[].port_profile), O(interfaces[].interface_id), and
        the link's O(interfaces[].mtu), which the guest learns at its next start. If a change fails half way, the module
        takes it back. If anything else differs, such as the model, the task fails and changes nothing.
      - With V(fail) the task fails and changes nothing.
      - V(replace) unplugs the NIC with the guest's help, and then attaches it as asked.
    type: str
    choices: [update, fail, replace]
    default: update
  timeout:
    description:
      - How many seconds the task waits for an answer from qemu, and for another task on the same VM to end. At most
        86400, which is a day.
      - With O(exclusive=true) and O(on_mismatch=replace) the task also waits at most this long for the guest to release a NIC.
    type: float
    default: 10
seealso:
  - module: virtaudit.qemu.vm_net_detach
"""

EXAMPLES = r"""
---
- name: Start a VM with a NIC on a bridge and one on a network device
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:01'
        source: br0
      - mac: '52:54:00:00:00:02'
        type: direct
        source: eth1
        mode: bridge
    qemu:
      memory: 4G
      vcpus: 2
      args:
        - -drive
        - file=/var/lib/vms/web01.qcow2,if=virtio

- name: Hot-plug a NIC with four queues, served by vhost-net
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:03'
        source: br0
        queues: 4
        vhost: required

- name: Put on record why a VM gets a NIC
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:05'
        source: br0
    ticket: CHG-1234

- name: Put a NIC into VLAN 42, and let it use two addresses only
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:05'
        source: br0
        vlan:
          tag: 42
        filter: address
        addresses: [192.0.2.7, '2001:db8::7']

- name: Quarantine it
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:05'
        source: br0
        vlan:
          tag: 42
        filter: address
        addresses: [192.0.2.7, '2001:db8::7']
        link: down

- name: Attach a NIC to a VM that something else started
  virtaudit.qemu.vm_net_attach:
    name: db01
    qmp_socket: /run/db01/qmp-net.sock
    interfaces:
      - mac: '52:54:00:00:00:04'
        source: br0

- name: Start a VM that stays paused, with room for 16 more NICs
  virtaudit.qemu.vm_net_attach:
    name: web02
    interfaces:
      - mac: '52:54:00:00:00:06'
        source: br0
        isolated: true
    qemu:
      memory: 4G
      paused: true
      hotplug_ports: 16

- name: Keep these two NICs of web01, and detach all others
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:01'
        source: br0
      - mac: '52:54:00:00:00:03'
        source: br0
        queues: 4
        vhost: required
    exclusive: true
    timeout: 60

- name: Change nothing and fail if the NIC is not on br0
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:01'
        source: br0
    on_mismatch: fail

- name: Change the model of a NIC, which needs the guest's help
  virtaudit.qemu.vm_net_attach:
    name: web01
    interfaces:
      - mac: '52:54:00:00:00:03'
        source: br0
        model: e1000e
    on_mismatch: replace
    timeout: 60
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
    started:
      description: Whether this task started the VM, or in check mode whether it would.
      type: bool
      returned: always
    unit:
      description:
        - The systemd scope of qemu. It is null if systemd does not run, if the VM does not run, or if another program
          started the VM.
      type: str
      returned: always
      sample: virtaudit-7f3a6fc8-0f5c-5f0e-8f55-1c1f0a8f2f11.scope
interfaces:
  description: The interfaces, in the task's order. After a failure, the interfaces that were done before it.
  returned: always
  type: list
  elements: dict
  contains:
    mac:
      description: The NIC's MAC address.
      type: str
      returned: always
    type:
      description: V(bridge), V(direct), V(openvswitch) or V(vdpa).
      type: str
      returned: always
    source:
      description: The bridge, the switch, the lower device, or the vdpa device.
      type: str
      returned: always
    ifname:
      description: The tap or macvtap, or the name of the vdpa device's node.
      type: str
      returned: always
    queues:
      description: The number of queues.
      type: int
      returned: always
    network:
      description: The network that the NIC is on.
      type: dict
      returned: always
      contains:
        source:
          description: The bridge, the switch, the lower device, or the vdpa device.
          type: str
          returned: always
        vlan:
          description: Its VLAN as V(42), or its trunk as V(trunk:10,20-30,native:10); null if it has none.
          type: str
          returned: always
        filter:
          description: V(none), V(mac) or V(address).
          type: str
          returned: always
        addresses:
          description: The addresses and networks that the filter lets pass.
          type: list
          elements: str
          returned: always
        isolated:
          description: Whether it is isolated.
          type: bool
          returned: always
        link:
          description: V(up) or V(down).
          type: str
          returned: always
    action:
      description:
        - V(attached); V(updated) if the task changed it in place; V(unchanged) if it was attached as asked before; or
          V(detached) if O(exclusive=true) took it out. In check mode, what the task would do.
      type: str
      returned: always
    devices:
      description: The open devices, the queues first, then vhost-net.
      type: list
      elements: dict
      returned: always
      contains:
        path:
          description: The node that was opened.
          type: str
          returned: always
          sample: /dev/net/tun
        rdev:
          description: Its device number in hex, as C(MAJOR:MINOR).
          type: str
          returned: always
          sample: 0A:C8
        dev:
          description: The tap or macvtap that it serves.
          type: str
          returned: always
          sample: vt525400000001
        fd:
          description: The number of the file descriptor in qemu.
          type: int
          returned: always
          sample: 31
        event:
          description: The audit event of its open, or null if it is not known.
          type: str
          returned: always
          sample: '1795420505.795:180'
audit:
  description: The records that this task wrote, including those for other VMs that had ended.
  returned: always
  type: dict
  contains:
    mode:
      description: The option O(audit).
      type: str
      returned: always
    daemon:
      description: The process id of the audit daemon, null if there is none or the task needed none.
      type: int
      returned: always
    auid:
      description: The login uid that the kernel put on the records, 4294967295 if it is unset; null if the task wrote
        no record.
      type: int
      returned: always
    ses:
      description: The login session that the kernel put on the records, null if the task wrote no record.
      type: int
      returned: always
    records:
      description: The records in the order in which they were written.
      type: list
      elements: dict
      returned: always
      contains:
        type:
          description: The record's type, such as V(VIRT_RESOURCE).
          type: str
          returned: always
        event:
          description: The kernel's event id, C(<seconds>.<ms>:<serial>); null if the kernel did not confirm the record.
          type: str
          returned: always
        confirmed:
          description: Whether the kernel echoed the record.
          type: bool
          returned: always
        fields:
          description: The record's fields, decoded; a missing value is null.
          type: dict
          returned: always
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
        attach_options,
        audit_options,
        vm_options,
    )
    from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.attach import run
    from ansible_collections.virtaudit.qemu.plugins.module_utils._task.edge import (
        run_module,
    )

    module = AnsibleModule(
        argument_spec={**vm_options(timeout=10), **audit_options(), **attach_options()},
        supports_check_mode=True,
    )
    run_module(module, run)


if __name__ == "__main__":
    main()
