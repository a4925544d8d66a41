# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The port of a tap on a bridge of Open vSwitch: its row, made, read, changed and removed.

Source: ``ovs-vswitchd.conf.db(5)``, tables Bridge, Port and Interface; libvirt's ``virNetDevOpenvswitchAddPort()``
for the external_ids that controllers look for.
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

    ``vlan`` is ``None`` where the row names none: the port is a trunk of all VLANs then. ``ids`` are the external_ids
    of its interface, ``error`` is why the switch could not use it.
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
    """Return the name of the bridge of each port; nothing on a host without Open vSwitch. Raises :class:`LinkError`."""
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
    """Return a port, ``None`` where there is none of that name. Raises :class:`LinkError`."""
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

    What is left of a port of that name, whose tap is gone, is removed before: the switch does not take a new tap for it.
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
    """Make the port if none of the name is there. Return why the switch does not use it."""
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
    """Change the VLANs, the isolation and the external_ids of a port on the bridge that it is on. Raises :class:`LinkError`."""
    ids = {"external_ids": ovsdb.as_map(port.ids)}
    ovsdb.change(
        [_update("Port", name, _settings(port)), _update("Interface", name, ids)]
    )


def remove(name: str, wait: bool = False) -> None:
    """Remove a port from its bridge; one that is not there is no error. Raises :class:`LinkError`.

    The switch lets go of it in its own time, unless ``wait``.
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
    """Have a bridge's own link keep its MTU: the switch would give it the smallest of its ports'. Raises :class:`LinkError`."""
    (rows,) = ovsdb.select(ovsdb.rows_of("Interface", ["mtu_request"], name=bridge))
    if rows and not ovsdb.as_list(rows[0]["mtu_request"]):
        ovsdb.change([_update("Interface", bridge, {"mtu_request": mtu})])


def ids_of(
    mac: str, vm: str | None, interface_id: str, profile: str | None
) -> dict[str, str]:
    """Return the external_ids by which controllers know a NIC, named as libvirt names them."""
    found = {MAC: mac, INTERFACE: interface_id, _STATUS: "active"}
    more = {VM: vm, PROFILE: profile}
    return {**found, **{name: value for name, value in more.items() if value}}


def _bridge_of(port: ovsdb.Row, rows: t.Iterable[ovsdb.Row]) -> str | None:
    """Return the name of the bridge, among the rows of table Bridge, that has a port."""
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
