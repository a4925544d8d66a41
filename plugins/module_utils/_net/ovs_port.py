# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes, reads, changes and removes the row of a tap's port on a bridge of Open vSwitch.

Sources: ``ovs-vswitchd.conf.db(5)``, tables Bridge, Port and Interface. libvirt's
``virNetDevOpenvswitchAddPort()`` shows the external_ids that controllers look for.
"""

from __future__ import annotations

import typing as t

from .._errors import LinkError
from . import ovsdb
from .vlan import Vlan, of_vids

MAC, INTERFACE, VM, PROFILE = "attached-mac", "iface-id", "vm-id", "port-profile"
_STATUS = "iface-status"
_BRIDGES = ovsdb.rows_of("Bridge", ["name", "ports"])


class OvsPort(t.NamedTuple):
    """A port of a bridge of Open vSwitch.

    ``vlan`` is ``None`` if the row has no VLAN, and then the port is a trunk of all VLANs. ``ids`` are the
    external_ids of its interface. If the switch could not use the port, ``error`` is the reason.
    """

    bridge: str
    vlan: Vlan | None
    protected: bool
    ids: dict[str, str]
    error: str | None = None


def datapaths() -> dict[str, str]:
    """Return the kind of datapath of each bridge: ``netdev`` is in user space. Raises :class:`LinkError`."""
    (rows,) = ovsdb.select(ovsdb.rows_of("Bridge", ["name", "datapath_type"]))
    return {row["name"]: row["datapath_type"] for row in rows}


def bridge_of_ports() -> dict[str, str]:
    """Return the name of the bridge of each port, or nothing on a host without Open vSwitch.

    Raises :class:`LinkError`.
    """
    if not ovsdb.is_installed():
        return {}
    ports, rows = ovsdb.select(ovsdb.rows_of("Port", ["_uuid", "name"]), _BRIDGES)
    names = {port["_uuid"]: port["name"] for port in ports}
    return {
        names[uuid]: row["name"]
        for row in rows
        for uuid in ovsdb.as_list(row["ports"])
        if uuid in names
    }


def read(name: str) -> OvsPort | None:
    """Return a port, or ``None`` if no port has that name. Raises :class:`LinkError`."""
    return _port_of(*ovsdb.select(*_questions(name)))


def _questions(name: str) -> list[ovsdb.Operation]:
    columns = ["_uuid", "tag", "trunks", "vlan_mode", "protected"]
    return [
        ovsdb.rows_of("Port", columns, name=name),
        _BRIDGES,
        ovsdb.rows_of("Interface", ["external_ids", "error"], name=name),
    ]


def _port_of(
    ports: list[ovsdb.Row], rows: list[ovsdb.Row], links: list[ovsdb.Row]
) -> OvsPort | None:
    bridge = _bridge_of(ports[0], rows) if ports else None
    if bridge is None:
        return None
    link = links[0] if links else {"external_ids": {}, "error": []}
    errors = ovsdb.as_list(link["error"])
    return OvsPort(
        bridge,
        _vlan_of(ports[0]),
        bool(ports[0]["protected"]),
        link["external_ids"],
        str(errors[0]) if errors else None,
    )


def add(name: str, port: OvsPort) -> None:
    """Make a tap a port of a bridge, with all its settings at once. Raises :class:`LinkError`.

    If an old port has that name and its tap no longer exists, remove the port first, because the switch does not use
    a new tap for an old port.
    """
    problem = _add(name, port)
    if problem is not None:
        remove(name, wait=True)
        problem = _add(name, port)
    if problem is not None:
        remove(name)
        raise LinkError(
            f"Open vSwitch could not use {name} as a port of {port.bridge}: {problem}"
        )


def _add(name: str, port: OvsPort) -> str | None:
    """Make the port if no port has that name. Return why the switch does not use it, or ``None`` if it does."""
    row = {
        "name": name,
        "interfaces": ["named-uuid", "link"],
        **_settings(port),
    }
    link = {"name": name, "external_ids": ovsdb.as_map(port.ids)}
    operations = [
        ovsdb.require_none("Port", name=name),
        _insert("Interface", link, "link"),
        _insert("Port", row, "port"),
        _mutate_ports(port.bridge, "insert", ["named-uuid", "port"]),
    ]
    try:
        made = _port_of(*ovsdb.change(operations, *_questions(name)))
    except ovsdb.RefusedError as exc:
        if exc.timed_out:
            return "a port of that name is there"
        raise
    return "its row is gone" if made is None else made.error


def update(name: str, port: OvsPort) -> None:
    """Change the VLANs, the isolation and the external_ids of a port. It stays on its bridge. Raises :class:`LinkError`."""
    ids = {"external_ids": ovsdb.as_map(port.ids)}
    ovsdb.change(
        [_update("Port", name, _settings(port)), _update("Interface", name, ids)]
    )


def remove(name: str, wait: bool = False) -> None:
    """Remove a port from its bridge. A missing port is not an error. Raises :class:`LinkError`.

    With ``wait``, wait until the switch no longer uses the port.
    """
    ports, rows = ovsdb.select(ovsdb.rows_of("Port", ["_uuid"], name=name), _BRIDGES)
    bridge = _bridge_of(ports[0], rows) if ports else None
    if bridge is not None:
        gone = [_mutate_ports(bridge, "delete", ["uuid", ports[0]["_uuid"]])]
        if wait:
            ovsdb.change(gone)
        else:
            ovsdb.write(gone)


def keep_mtu(bridge: str, mtu: int) -> None:
    """Pin the MTU of a bridge's own link, because the switch would give it the smallest MTU of its ports.

    Raises :class:`LinkError`.
    """
    (rows,) = ovsdb.select(ovsdb.rows_of("Interface", ["mtu_request"], name=bridge))
    if rows and not ovsdb.as_list(rows[0]["mtu_request"]):
        ovsdb.change([_update("Interface", bridge, {"mtu_request": mtu})])


def ids_of(
    mac: str, vm: str | None, interface_id: str, profile: str | None
) -> dict[str, str]:
    """Return the external_ids by which controllers know a NIC, with libvirt's names."""
    found = {MAC: mac, INTERFACE: interface_id, _STATUS: "active"}
    more = {VM: vm, PROFILE: profile}
    return {**found, **{name: value for name, value in more.items() if value}}


def _bridge_of(port: ovsdb.Row, rows: t.Iterable[ovsdb.Row]) -> str | None:
    """Find the bridge that has a port among the rows of table Bridge, and return its name."""
    for row in rows:
        if port["_uuid"] in ovsdb.as_list(row["ports"]):
            return str(row["name"])
    return None


def _settings(port: OvsPort) -> ovsdb.Row:
    vlan = port.vlan
    tag, trunks, mode = [], [], []
    if vlan is not None:
        tag = [] if vlan.native is None else [vlan.native]
        trunks = [vid for first, last in vlan.tagged for vid in range(first, last + 1)]
        native = "access" if not trunks else "native-untagged"
        mode = ["trunk" if not tag else native]
    return {
        "tag": ovsdb.as_set(tag),
        "trunks": ovsdb.as_set(trunks),
        "vlan_mode": ovsdb.as_set(mode),
        "protected": port.protected,
    }


def _vlan_of(row: ovsdb.Row) -> Vlan | None:
    tags, trunks = ovsdb.as_list(row["tag"]), ovsdb.as_list(row["trunks"])
    if not tags and not trunks:
        return None
    return of_vids(tags[0] if tags else None, trunks)


def _insert(table: str, row: ovsdb.Row, name: str) -> ovsdb.Operation:
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def _update(table: str, name: str, row: ovsdb.Row) -> ovsdb.Operation:
    where = [["name", "==", name]]
    return {"op": "update", "table": table, "where": where, "row": row}


def _mutate_ports(bridge: str, how: str, uuid: list[str]) -> ovsdb.Operation:
    return {
        "op": "mutate",
        "table": "Bridge",
        "where": [["name", "==", bridge]],
        "mutations": [["ports", how, ["set", [uuid]]]],
    }
