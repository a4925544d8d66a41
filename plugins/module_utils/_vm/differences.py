# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells how an attached NIC differs from what a task asks for, and whether that can be changed in place."""

from __future__ import annotations

import dataclasses
import typing as t

from .._audit.network import Network
from .._net import sysfs
from .._net.backends import backend_of
from .._net.interface import Interface
from .._net.mac import compact
from .nic import Nic

# The values of a network that are not in the result of a module.
_DETAILS = ("mtu", "port_profile", "interface_id", "hwaddr")


class Move(t.NamedTuple):
    """The network that an attached NIC is on, and the network that a task asks for."""

    before: Network
    after: Network

    @property
    def differences(self) -> list[str]:
        """Return in words how the two networks differ."""
        found = []
        for change in self.before.changes(self.after):
            (name, have), (_name, want) = change.items()
            found.append(
                f"{name[len('old-'):]} is {have}, and the task asks for {want}"
            )
        return found


def move_of(wanted: Interface, nic: Nic) -> Move | None:
    """Return the change in place that makes a NIC what a task asks for, or ``None`` if that needs another NIC."""
    if _lasting_differences(wanted, nic):
        return None
    move = _move(wanted, nic)
    moves = backend_of(nic.type).moves
    return move if moves or move.before.source == move.after.source else None


def differences(wanted: Interface, nic: Nic) -> list[str]:
    """Return a sentence for each way in which an attached NIC differs from what a task asks for."""
    lasting = _lasting_differences(wanted, nic)
    pending = nic.note is not None and nic.note.pending
    if pending or not (nic.is_whole and nic.has_place):
        return lasting
    # The kind of the NIC comes first, then its place, and then its details.
    kind = sum(each.startswith(("type is", "model is")) for each in lasting)
    return lasting[:kind] + _move(wanted, nic).differences + lasting[kind:]


def details(
    wanted: Interface, nic: Nic, move: Move | None
) -> dict[str, tuple[str | None, str | None]]:
    """Return values of a NIC before and after a change. They are the values that differ and that no module result has.

    ``move`` is the change in place, or ``None`` if the NIC is replaced.
    """
    before, after = move or _move(wanted, nic)
    pairs: dict[str, tuple[str | None, str | None]] = {
        name: (getattr(before, name), getattr(after, name)) for name in _DETAILS
    }
    if before.link != nic.network.link:
        pairs["link"] = (before.link or "up", after.link or "up")
    pairs["mode"] = (nic.mode, wanted.mode or None)
    if nic.front_end is not None:
        pairs["model"] = (nic.front_end.model, wanted.qom_type)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _move(wanted: Interface, nic: Nic) -> Move:
    before, after = nic.network, wanted.network
    if nic.note is None or not nic.note.made:
        # A switch tells what the program that made the link has set there, and that is not the task's.
        after = dataclasses.replace(
            after,
            vlan=before.vlan,
            isolated=before.isolated,
            port_profile=after.port_profile or before.port_profile,
        )
    if after.link is None and nic.note is not None:
        # In quarantine the guest's side has no carrier either. If somebody brought the host's side up by hand, only
        # the note tells that, because nobody can ask qemu.
        before = dataclasses.replace(before, link=before.link or nic.note.network.link)
    if before.hwaddr is not None:
        own = backend_of(nic.type).hwaddr_of(nic.mac)
        after = dataclasses.replace(after, hwaddr=own)
    if wanted.mtu is None:
        # A value that the task does not give stays as it is.
        return Move(before, dataclasses.replace(after, mtu=before.mtu))
    mtu = sysfs.mtu(nic.ifname) if nic.ifname else None
    shown = None if mtu is None else str(mtu)
    return Move(dataclasses.replace(before, mtu=shown), after)


def _lasting_differences(wanted: Interface, nic: Nic) -> list[str]:
    if nic.front_end is None:
        return ["the guest has released it, and qemu still holds its devices"]
    if not nic.devices:
        return ["its host side is closed, and the guest has not released it"]
    if nic.note is not None and nic.note.pending:
        return ["a detach is pending: the guest was asked to release it"]
    if not nic.has_place:
        link = f"its link {nic.ifname}" if nic.ifname else "its link"
        return [
            f"{link} is not in this network namespace (it was removed or moved). If it was removed, the guest has no "
            "network. If it was moved, this host does not see which network the guest has; look for the link in the "
            "other namespaces ('ip -all netns exec ip link'), and move it back"
        ]
    pairs: list[tuple[str, object, object]] = [
        ("type", nic.type, wanted.type),
        ("model", nic.front_end.model, wanted.qom_type),
        ("queues", nic.queues, wanted.queues),
        ("ifname", nic.ifname, wanted.ifname),
    ]
    if wanted.type == nic.type and wanted.mode:
        pairs.append(("mode", nic.mode, wanted.mode))
    if (nic.note is None or not nic.note.made) and wanted.network.is_prepared:
        return [
            "another program attached it, and this collection sets no VLAN, filter or isolation on links of other "
            "programs"
        ]
    if wanted.vhost != "auto" and nic.vhost is not None:
        pairs.append(
            (
                "vhost",
                "on" if nic.vhost else "off",
                "on" if wanted.vhost == "required" else "off",
            )
        )
    if nic.note is None and wanted.ifname == f"vt{compact(wanted.mac)}":
        # A NIC that this collection did not attach has its own link name, and the task did not ask
        # for our default name.
        pairs = [pair for pair in pairs if pair[0] != "ifname"]
    return [
        f"{what} is {have}, and the task asks for {want}"
        for what, have, want in pairs
        if have != want
    ]
