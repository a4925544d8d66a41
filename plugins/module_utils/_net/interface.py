# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interfaces that a task asks for. They are checked before anything is opened.

Pure, except for vdpa: there the code asks sysfs for the node of a device, because records and notes name the node.
"""

from __future__ import annotations

import re
import typing as t
import uuid as uuidlib

from .._audit.network import MAX_LIST_BYTES, Network
from .._errors import OptionError

if t.TYPE_CHECKING:
    from .addresses import IpNetwork
    from .vlan import Vlan

# include/uapi/linux/if_tun.h: MAX_TAP_QUEUES
MAX_QUEUES = 256
# include/uapi/linux/if.h: IFNAMSIZ, with the NUL at its end
MAX_IFNAME_BYTES = 15

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_IFNAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
# Names of links for which systemd's own .network files set up a DHCP server, masquerading and
# addresses, for its containers and VMs.
_CLAIMED = re.compile(r"(?:vt|ve|vb|vz)-.*|host0", re.ASCII)


class _Kind(t.NamedTuple):
    """A type of interface: its default mode, its largest MTU, and why it refuses options."""

    mode: str
    max_mtu: int
    mtu_reason: str
    refused: dict[str, str]


_NO_IDS = dict.fromkeys(
    ("port_profile", "interface_id"),
    "only a port of Open vSwitch (type: openvswitch) has external_ids",
)
_KINDS = {
    "bridge": _Kind(
        mode="",
        # drivers/net/tun.c: the largest frame without its Ethernet header
        max_mtu=65521,
        mtu_reason="is more than the 65521 bytes of a tap",
        refused={"mode": "only type=direct (macvtap) has a mode", **_NO_IDS},
    ),
    "openvswitch": _Kind(
        mode="",
        max_mtu=65521,
        mtu_reason="is more than the 65521 bytes of a tap",
        refused={"mode": "only type=direct (macvtap) has a mode"},
    ),
    "direct": _Kind(
        mode="vepa",
        max_mtu=65535,
        mtu_reason="is not between 68 and 65535 bytes",
        refused={
            "vlan": "a macvtap is in the VLAN of its lower device; give a VLAN device as source (eth0.42), or use "
            "type: bridge",
            "isolated": "only a port of a bridge can be isolated; use mode: private for a macvtap",
            **_NO_IDS,
        },
    ),
    "vdpa": _Kind(
        mode="",
        max_mtu=65535,
        mtu_reason="",
        refused={
            "mode": "only type=direct (macvtap) has a mode",
            **dict.fromkeys(
                ("vlan", "filter", "addresses", "isolated", "link", "mtu"),
                "the frames of a vdpa device do not pass the host, which can neither filter them nor keep them back; set"
                " this on the device or its switch ('vdpa dev config', 'devlink port function')",
            ),
            "ifname": "a vdpa device has no link on the host",
            "queues": "the vdpa device itself says how many queues it has (max_vqp of 'vdpa dev add')",
            "vhost": "the vdpa device does the work of vhost-net itself",
            **_NO_IDS,
        },
    ),
}
# Values of options that ask for nothing.
_DEFAULTS = {"filter": "none", "link": "up", "queues": 1, "vhost": "auto"}
_ALIASES = {"virtio-net": "virtio-net-pci", "e1000-82540em": "e1000"}
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class Interface(t.NamedTuple):
    """One NIC that a task asks for.

    ``option`` is its name in messages, such as ``interfaces[0]``. ``mode`` is empty unless the type is ``direct``.
    With ``vdpa``, ``source`` is the device's name, and ``ifname`` is the name of its node. ``filter`` is ``none``,
    ``mac`` or ``address``, and only with ``address`` are there ``addresses``. ``link`` is ``up`` or ``down``.
    """

    option: str
    mac: str
    type: str
    source: str
    mode: str
    model: str
    queues: int
    vhost: str
    ifname: str
    mtu: int | None
    vlan: Vlan | None = None
    filter: str = "none"
    addresses: tuple[IpNetwork, ...] = ()
    isolated: bool = False
    link: str = "up"
    port_profile: str | None = None
    interface_id: str | None = None

    @property
    def network(self) -> Network:
        """Return the network that the task asks for, in the form of records."""
        return Network(
            source=self.source,
            vlan=None if self.vlan is None else str(self.vlan),
            filter=None if self.filter == "none" else self.filter,
            addresses=_text(self.addresses),
            isolated="yes" if self.isolated else None,
            link="down" if self.link == "down" else None,
            mtu=None if self.mtu is None else str(self.mtu),
            port_profile=self.port_profile,
            interface_id=self.interface_id,
        )

    @property
    def is_virtio(self) -> bool:
        """Tell whether the model can use vhost-net and several queues."""
        return self.model.startswith("virtio-net")

    @property
    def qom_type(self) -> str:
        """Return the model's name in a running qemu, which has a second name for some models."""
        return _ALIASES.get(self.model, self.model)

    @property
    def is_pci(self) -> bool:
        """Tell whether the model is a PCI device."""
        return sits_on_pci(self.model)

    def error(self, suboption: str, problem: str) -> OptionError:
        """Return the error for a suboption of this interface."""
        return OptionError(f"{self.option}.{suboption}", problem)


def sits_on_pci(model: str) -> bool:
    """Tell whether a NIC of a model is a PCI device. qemu's other hot-pluggable NICs are USB devices."""
    return not model.startswith("usb-")


def compact(mac: str) -> str:
    """Return a MAC without its colons, for ids and interface names."""
    return mac.replace(":", "")


def parse_mac(option: str, text: str) -> str:
    """Return a guest's MAC in lower case. Raises :class:`OptionError`."""
    mac = text.strip().lower()
    if not _MAC.fullmatch(mac):
        problem = f"{text!r} is not a MAC address (six bytes in hex, such as 52:54:00:12:34:56)"
        if mac.isdecimal():
            # YAML 1.1 has numbers to the base of 60.
            problem += "; YAML reads a MAC that has only digits as a number: quote it"
        raise OptionError(option, problem)
    if int(mac[:2], 16) & 1:
        raise OptionError(
            option, f"{text} is a multicast address; a NIC's first byte is even"
        )
    if mac == "00:00:00:00:00:00":
        raise OptionError(option, f"{text} is not a MAC address that a NIC can have")
    return mac


def parse_interfaces(items: t.Sequence[t.Mapping[str, t.Any]]) -> list[Interface]:
    """Check the option ``interfaces``. Raises :class:`OptionError` for the first mistake."""
    interfaces = [
        _parse(f"interfaces[{index}]", item) for index, item in enumerate(items)
    ]
    # For a vdpa device, ifname is the name of its node.
    for suboption in ("mac", "ifname"):
        seen: dict[str, Interface] = {}
        for interface in interfaces:
            value = getattr(interface, suboption)
            if value in seen:
                raise interface.error(
                    suboption,
                    f"{value} is given twice; {seen[value].option} has it, too",
                )
            seen[value] = interface
    _refuse_shared_passthrough(interfaces)
    return interfaces


def _text(addresses: tuple[IpNetwork, ...]) -> str | None:
    if not addresses:
        return None
    from .addresses import texts

    return ",".join(texts(addresses))


def _parse_vlan(option: str, value: t.Mapping[str, t.Any] | None) -> Vlan | None:
    if value is None:
        return None
    # The imports are here because few NICs have a VLAN or addresses, and each import takes time.
    from .vlan import parse_vlan

    return parse_vlan(option, value)


def _parse_addresses(
    option: str, items: t.Sequence[str] | None
) -> tuple[IpNetwork, ...]:
    if not items:
        return ()
    from .addresses import parse_addresses

    return parse_addresses(option, items)


def _parse_interface_id(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(uuidlib.UUID(text))
    except ValueError as exc:
        raise OptionError(f"{option}.interface_id", f"{text!r} is not a UUID") from exc


def _parse(option: str, item: t.Mapping[str, t.Any]) -> Interface:
    mac = parse_mac(f"{option}.mac", item["mac"])
    kind = _KINDS[item["type"]]
    _refuse(option, item, kind)
    source, ifname = item["source"], item["ifname"] or f"vt{compact(mac)}"
    is_vdpa = item["type"] == "vdpa"
    if is_vdpa:
        # The import is here because few NICs are vdpa devices, and each import takes time.
        from . import vdpa

        found = vdpa.of_option(f"{option}.source", source)
        source, ifname = found.name, found.node
    interface = Interface(
        option=option,
        mac=mac,
        type=item["type"],
        source=source,
        mode=item["mode"] or kind.mode,
        model=item["model"],
        queues=item["queues"],
        # A vdpa device needs no vhost-net, so qemu gets none.
        vhost="off" if is_vdpa else item["vhost"],
        ifname=ifname,
        mtu=item["mtu"],
        vlan=_parse_vlan(f"{option}.vlan", item["vlan"]),
        filter=item["filter"],
        addresses=_parse_addresses(f"{option}.addresses", item["addresses"]),
        isolated=item["isolated"],
        link=item["link"],
        port_profile=item["port_profile"],
        interface_id=_parse_interface_id(option, item["interface_id"]),
    )
    for suboption in () if is_vdpa else ("source", "ifname"):
        _check_ifname(interface, suboption)
    if not _MODEL.fullmatch(interface.model):
        raise interface.error(
            "model", f"{interface.model!r} is not a name of a qemu device"
        )
    if not 1 <= interface.queues <= MAX_QUEUES:
        raise interface.error(
            "queues", f"{interface.queues} is not between 1 and {MAX_QUEUES}"
        )
    if interface.mtu is not None and not 68 <= interface.mtu <= 65535:
        raise interface.error(
            "mtu", f"{interface.mtu} is not between 68 and 65535 bytes"
        )
    if (interface.mtu or 0) > kind.max_mtu:
        raise interface.error("mtu", f"{interface.mtu} {kind.mtu_reason}")
    _check_filter(interface)
    if not interface.is_virtio:
        _check_not_virtio(interface)
    return interface


def _refuse(option: str, item: t.Mapping[str, t.Any], kind: _Kind) -> None:
    """Refuse options that do not apply to a type of interface. Raises :class:`OptionError`."""
    for suboption, reason in kind.refused.items():
        if item[suboption] not in (None, False, "", [], _DEFAULTS.get(suboption)):
            raise OptionError(f"{option}.{suboption}", reason)


def _check_ifname(interface: Interface, suboption: str) -> None:
    name = getattr(interface, suboption)
    if not _IFNAME.fullmatch(name) or name in (".", ".."):
        raise interface.error(
            suboption,
            f"{name!r} is not an interface name (letters, digits, dot, dash and underscore)",
        )
    if suboption == "ifname" and _CLAIMED.fullmatch(name):
        raise interface.error(
            suboption,
            f"{name!r} is a name that systemd's own .network files claim, so systemd-networkd would manage the link; "
            "choose another name, without a dash",
        )
    if len(name) > MAX_IFNAME_BYTES:
        raise interface.error(
            suboption,
            f"{name!r} has {len(name)} bytes; an interface name has at most {MAX_IFNAME_BYTES}",
        )


def _check_filter(interface: Interface) -> None:
    if interface.filter == "address" and not interface.addresses:
        raise interface.error(
            "addresses",
            "filter: address needs the addresses that the NIC may use; give them, or use filter: mac",
        )
    if interface.filter != "address" and interface.addresses:
        raise interface.error(
            "addresses",
            f"filter: {interface.filter} does not use addresses; use filter: address, or leave the addresses out",
        )
    if len(interface.network.addresses or "") > MAX_LIST_BYTES:
        raise interface.error(
            "addresses",
            f"the {len(interface.addresses)} addresses do not fit into an audit record; give networks instead",
        )


def _check_not_virtio(interface: Interface) -> None:
    if interface.type == "vdpa":
        raise interface.error(
            "model",
            f"{interface.model} cannot use a vdpa device; only virtio-net can",
        )
    if interface.queues > 1:
        raise interface.error(
            "queues",
            f"{interface.model} can have one queue only; use virtio-net for more",
        )
    if interface.vhost == "required":
        raise interface.error(
            "vhost",
            f"{interface.model} cannot use vhost-net; use virtio-net, or vhost: off",
        )


def _refuse_shared_passthrough(interfaces: t.Sequence[Interface]) -> None:
    direct = [interface for interface in interfaces if interface.type == "direct"]
    for interface in direct:
        others = [
            other
            for other in direct
            if other.source == interface.source and other is not interface
        ]
        if interface.mode == "passthrough" and others:
            raise interface.error(
                "mode",
                f"passthrough needs the whole device {interface.source}, and {others[0].option} uses it, too",
            )
