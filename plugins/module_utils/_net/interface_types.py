# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of interfaces, and the options that each of them refuses. Pure."""

from __future__ import annotations

import typing as t

from .._errors import OptionError

# Values of options that ask for nothing.
_DEFAULTS = {"filter": "none", "link": "up", "queues": 1, "vhost": "auto"}


class Kind(t.NamedTuple):
    """A type of interface: its default mode, its largest MTU, and why it refuses options."""

    mode: str
    max_mtu: int
    mtu_reason: str
    refused: dict[str, str]

    def refuse(self, option: str, item: t.Mapping[str, t.Any]) -> None:
        """Refuse options that do not apply to this type of interface. Raises :class:`OptionError`."""
        for suboption, reason in self.refused.items():
            if item[suboption] not in (None, False, "", [], _DEFAULTS.get(suboption)):
                raise OptionError(f"{option}.{suboption}", reason)


_NO_IDS = dict.fromkeys(
    ("port_profile", "interface_id"),
    "only a port of Open vSwitch (type: openvswitch) has external_ids",
)
KINDS = {
    "bridge": Kind(
        mode="",
        # drivers/net/tun.c: the largest frame without its Ethernet header
        max_mtu=65521,
        mtu_reason="is more than the 65521 bytes of a tap",
        refused={"mode": "only type=direct (macvtap) has a mode", **_NO_IDS},
    ),
    "openvswitch": Kind(
        mode="",
        max_mtu=65521,
        mtu_reason="is more than the 65521 bytes of a tap",
        refused={"mode": "only type=direct (macvtap) has a mode"},
    ),
    "direct": Kind(
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
    "vdpa": Kind(
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
