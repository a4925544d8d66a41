# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives a bridge's port its VLANs, and reads them back.

Source: ``include/uapi/linux/if_bridge.h``; ``RTM_GETVLAN`` needs Linux 5.6. bridge(8) takes 35 ms for the same,
and versions of pyroute2 have different forms for ranges.
"""

from __future__ import annotations

import errno
import socket
import struct
import typing as t

from .._errors import LinkError
from . import netlink, sysfs
from .vlan import Vlan, ranges_of

_RTM_SETLINK = 19
_RTM_GETVLAN = 114
_IFLA_AF_SPEC = 26
_IFLA_BRIDGE_VLAN_INFO = 2
_BRIDGE_VLANDB_ENTRY = 1
_BRIDGE_VLANDB_ENTRY_INFO = 1
_BRIDGE_VLANDB_ENTRY_RANGE = 2
_PVID = 0x02
_UNTAGGED = 0x04
_RANGE_BEGIN = 0x08
_RANGE_END = 0x10
# struct br_vlan_msg: family, index
_VLAN_MSG = struct.Struct("=BxxxI")
# struct bridge_vlan_info: flags, vid
_INFO = struct.Struct("=HH")


class PortVlans(t.NamedTuple):
    """The VLANs of a port. Untagged frames that come in are in VLAN ``pvid``.

    ``vids`` tells for each id whether its frames leave untagged.
    """

    pvid: int | None
    vids: dict[int, bool]

    def matches(self, vlan: Vlan) -> bool:
        """Tell whether these are exactly the VLANs of a NIC."""
        return self.pvid == vlan.native and self.vids == vlan.vids()

    def __str__(self) -> str:
        """Return the VLANs in the form of records, or in bridge(8)'s words if no NIC can have such VLANs."""
        bare = {vid for vid, untagged in self.vids.items() if untagged}
        if self.vids and bare == ({self.pvid} - {None}):
            return str(Vlan(self.pvid, ranges_of(set(self.vids) - bare)))
        words = (
            f"{vid}{'-untagged' if untagged else ''}{'-PVID' if vid == self.pvid else ''}"
            for vid, untagged in sorted(self.vids.items())
        )
        return ",".join(words) or "none"


def read(name: str) -> PortVlans:
    """Return the VLANs of a bridge's port. Raises :class:`LinkError`."""
    request = _VLAN_MSG.pack(socket.AF_BRIDGE, _index(name))
    pvid, vids = None, {}
    for reply in _talk(name, "read", _RTM_GETVLAN, netlink.NLM_F_DUMP, request):
        for kind, entry in netlink.attributes(reply.payload[_VLAN_MSG.size :]):
            if kind != _BRIDGE_VLANDB_ENTRY:
                continue
            values = dict(netlink.attributes(entry))
            flags, first = _INFO.unpack_from(values[_BRIDGE_VLANDB_ENTRY_INFO])
            last = first
            if _BRIDGE_VLANDB_ENTRY_RANGE in values:
                (last,) = struct.unpack_from("=H", values[_BRIDGE_VLANDB_ENTRY_RANGE])
            for vid in range(first, last + 1):
                vids[vid] = bool(flags & _UNTAGGED)
            if flags & _PVID:
                pvid = first
    return PortVlans(pvid, vids)


def apply(name: str, vlan: Vlan) -> None:
    """Give a port exactly the VLANs of a NIC, and read them back. Raises :class:`LinkError`.

    The VLANs that go are removed first, so that no frame of the guest reaches two networks meanwhile.
    """
    before = read(name)
    if before.matches(vlan):
        return
    wanted = vlan.vids()
    kept = {vid for vid, bare in before.vids.items() if wanted.get(vid) is bare}
    if before.pvid != vlan.native:
        # A port has one PVID. The old PVID goes with its VLAN.
        kept -= {before.pvid, vlan.native}
    gone = [(vid, 0) for vid in sorted(set(before.vids) - kept)]
    if gone:
        _send(name, "remove VLANs from", netlink.RTM_DELLINK, gone)
    new = [
        (vid, _UNTAGGED if bare else 0)
        for vid, bare in sorted(wanted.items())
        if vid not in kept
    ]
    if new:
        native = vlan.native
        flagged = [(vid, flags | (_PVID if vid == native else 0)) for vid, flags in new]
        _send(name, "give VLANs to", _RTM_SETLINK, flagged)
    after = read(name)
    if not after.matches(vlan):
        raise LinkError(
            f"{name} should have VLAN {vlan} of its bridge, and the kernel says that it has {after}"
        )


def is_default(name: str, bridge: str) -> bool:
    """Tell whether a port has the VLAN that its bridge gives to a new one, and no other. Raises :class:`LinkError`."""
    default, found = sysfs.default_vid(bridge), read(name)
    return not found.vids if default is None else found.matches(Vlan(default))


def apply_default(name: str, bridge: str) -> None:
    """Give a port only the VLAN that its bridge gives to a new port. Raises :class:`LinkError`."""
    default = sysfs.default_vid(bridge)
    if default is not None:
        apply(name, Vlan(default))
        return
    gone = [(vid, 0) for vid in sorted(read(name).vids)]
    if gone:
        _send(name, "remove VLANs from", netlink.RTM_DELLINK, gone)


def _send(name: str, what: str, kind: int, vlans: t.Sequence[tuple[int, int]]) -> None:
    spec = netlink.nested(_IFLA_AF_SPEC, *_infos(vlans))
    header = netlink.IFINFO.pack(socket.AF_BRIDGE, 0, _index(name), 0, 0)
    _talk(name, what, kind, 0, header + spec)


def _infos(vlans: t.Sequence[tuple[int, int]]) -> list[bytes]:
    """Return VLANs as attributes, with neighbours of equal flags as ranges.

    Single attributes of a trunk of all VLANs would not fit into a message.
    """
    ranges: list[tuple[int, int, int]] = []
    for vid, flags in vlans:
        if ranges and ranges[-1][1:] == (vid - 1, flags) and not flags & _PVID:
            ranges[-1] = (ranges[-1][0], vid, flags)
        else:
            ranges.append((vid, vid, flags))
    infos = []
    for first, last, flags in ranges:
        if first == last:
            infos.append(_INFO.pack(flags, first))
        else:
            infos.append(_INFO.pack(flags | _RANGE_BEGIN, first))
            infos.append(_INFO.pack(flags | _RANGE_END, last))
    return [netlink.attribute(_IFLA_BRIDGE_VLAN_INFO, info) for info in infos]


def _talk(
    name: str, what: str, kind: int, flags: int, request: bytes
) -> list[netlink.Reply]:
    try:
        return netlink.talk(netlink.NETLINK_ROUTE, kind, flags, request)
    except OSError as exc:
        hint = ""
        if exc.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            hint = "; the kernel may lack VLAN filtering on bridges (CONFIG_BRIDGE_VLAN_FILTERING)"
        raise LinkError(
            f"the kernel did not {what} the bridge port {name}: {exc.strerror or exc}{hint}"
        ) from exc


def _index(name: str) -> int:
    index = sysfs.ifindex(name)
    if index is None:
        raise LinkError(f"there is no link {name} in this network namespace")
    return index
