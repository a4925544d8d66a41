# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the place of each NIC's link on the host with its records. Pure."""

from __future__ import annotations

import typing as t

from .._device import VDPA_NODE
from .._time import iso
from .findings import Code, Finding, Findings
from .grants import Grant


class Place(t.NamedTuple):
    """The place of a link on the host at one moment.

    ``source`` is the bridge that a tap is a port of, or the lower device of a macvtap, or ``None``.
    ``filtered`` tells whether the link has a packet filter of this collection, and is ``None`` if nobody
    looked. ``is_known`` is false if the link is there and nobody could tell its source.
    """

    source: str | None
    is_tap: bool
    filtered: bool | None = None
    is_known: bool = True


def compare_place(
    grant: Grant, seen: t.Sequence[Place | None], findings: Findings, now: float
) -> None:
    """Add findings about the link of a grant that its VM holds.

    ``seen`` are several observations of the link, with ``None`` where the link was not there. A change that a
    task makes in between is in some of them only, and is no finding. ``now`` is the time in seconds since the
    epoch.
    """
    network, places = grant.network, [each for each in seen if each is not None]
    if network is None:
        return
    if network["source"] and not places and _has_link(grant):
        message = _gone(grant, network["source"])
        findings.add(_finding("moved_port", grant, message, now))
    if len(places) < len(seen):
        return
    if network["source"] and all(
        each.is_known and each.source != network["source"] for each in places
    ):
        message = _moved(grant, network["source"], places[-1])
        findings.add(_finding("moved_port", grant, message, now))
    if network["filter"] and all(each.filtered is False for each in places):
        message = _unfiltered(grant, network["filter"])
        findings.add(_finding("missing_filter", grant, message, now))


def _has_link(grant: Grant) -> bool:
    """Tell whether a link is on record. A vdpa device has none, and its record names its node."""
    vdpa = any(each.is_vdpa for each in grant.devices)
    return bool(grant.link) and not (vdpa or VDPA_NODE.fullmatch(grant.link or ""))


def _moved(grant: Grant, recorded: str, place: Place) -> str:
    link = grant.link
    if place.is_tap:
        where = f"a port of {place.source}" if place.source else "a port of no bridge"
        back = (
            f"put it back ('ip link set {link} master {recorded}', or 'ovs-vsctl add-port {recorded} {link}' for a "
            "bridge of Open vSwitch)"
        )
    else:
        where = f"on {place.source}" if place.source else "on no network device"
        back = "detach it and attach it where it belongs"
    return (
        f"The record of {iso(grant.placed.time)} says that {_nic(grant)} is on {recorded}, and its link {link} is "
        f"{where}. Somebody moved it without a record. Find out who did it. Then {back}, or run vm_net_attach for the "
        "VM, which puts it where the task says and records it."
    )


def _gone(grant: Grant, recorded: str) -> str:
    return (
        f"The record of {iso(grant.placed.time)} says that {_nic(grant)} is on {recorded}, and its link {grant.link} is "
        "not in this network namespace any more (it was removed or moved), so the guest has no network there. Find out "
        "who did it. Then detach the NIC with vm_net_detach, and attach it again."
    )


def _unfiltered(grant: Grant, recorded: str) -> str:
    return (
        f"The record of {iso(grant.placed.time)} says that {_nic(grant)} has the filter {recorded}, and nftables has "
        f"no rule of this collection for its link {grant.link}. So the guest can send from any address. Something "
        "removed the rules; 'nft flush ruleset' and a reload of a firewall do that. Run vm_net_attach for the VM, "
        "which puts the filter back, and find out what removed it."
    )


def _nic(grant: Grant) -> str:
    return f"{grant.mac} of VM {grant.vm}"


def _finding(code: Code, grant: Grant, message: str, now: float) -> Finding:
    return Finding(
        code=code,
        severity="high",
        message=message,
        time=now,
        events=[grant.placed.event],
        node=grant.node,
        vm=grant.vm,
        uuid=grant.uuid,
        mac=grant.mac,
        dev=grant.link,
        auid=grant.placed.auid,
    )
