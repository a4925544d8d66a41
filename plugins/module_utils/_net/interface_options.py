# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the option ``interfaces``. Everything in it is checked before anything is opened.

Pure, except for vdpa: there the code asks sysfs for the node of a device, because records and notes name the node.
"""

from __future__ import annotations

import re
import typing as t
import uuid as uuidlib

from .._audit.network import MAX_LIST_BYTES
from .._errors import OptionError
from .._text import check_text
from .interface import Interface
from .interface_types import KINDS
from .mac import compact, parse_mac

if t.TYPE_CHECKING:
    from .addresses import IpNetwork
    from .vlan import Vlan

# include/uapi/linux/if_tun.h: MAX_TAP_QUEUES
MAX_QUEUES = 256
# include/uapi/linux/if.h: IFNAMSIZ, with the NUL at its end
MAX_IFNAME_BYTES = 15
MAX_PROFILE_BYTES = 255

_IFNAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
# Names of links for which systemd's own .network files set up a DHCP server, masquerading and
# addresses, for its containers and VMs.
_CLAIMED = re.compile(r"(?:vt|ve|vb|vz)-.*|host0", re.ASCII)
# net/core/neighbour.c, net/ipv4/devinet.c: the kernel makes no link with one of these names.
_SETTINGS = ("all", "default")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


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


def _parse_port_profile(option: str, text: str | None) -> str | None:
    """Return the port profile. Return ``None`` if the text is empty, because the switch has no empty profile."""
    if not text:
        return None
    return check_text(f"{option}.port_profile", text, MAX_PROFILE_BYTES)


def _parse_interface_id(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(uuidlib.UUID(text))
    except ValueError as exc:
        raise OptionError(f"{option}.interface_id", f"{text!r} is not a UUID") from exc


def _parse(option: str, item: t.Mapping[str, t.Any]) -> Interface:
    mac = parse_mac(f"{option}.mac", item["mac"])
    kind = KINDS[item["type"]]
    kind.refuse(option, item)
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
        port_profile=_parse_port_profile(option, item["port_profile"]),
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


def _check_ifname(interface: Interface, suboption: str) -> None:
    name = getattr(interface, suboption)
    if not _IFNAME.fullmatch(name) or name in (".", ".."):
        raise interface.error(
            suboption,
            f"{name!r} is not an interface name (letters, digits, dot, dash and underscore)",
        )
    if name in _SETTINGS:
        raise interface.error(
            suboption,
            f"{name!r} is the name of the kernel's settings for all links (/proc/sys/net/ipv4/conf), so no link can "
            "have it; choose another name",
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
