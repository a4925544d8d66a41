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
# The types of an interface that is a link of the kernel.
_LINKS = ("", "system")
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
    return read_all([name])[name]


def read_all(names: t.Collection[str]) -> dict[str, OvsPort | None]:
    """Return ports by name, with ``None`` for a name that no port has. Raises :class:`LinkError`."""
    return _ports_of(names, ovsdb.select(*_questions(*names)))


def _questions(*names: str) -> list[ovsdb.Operation]:
    columns = ["_uuid", "tag", "trunks", "vlan_mode", "protected"]
    asked = [_BRIDGES]
    for name in names:
        asked += [
            ovsdb.rows_of("Port", columns, name=name),
            ovsdb.rows_of("Interface", ["external_ids", "error"], name=name),
        ]
    return asked


def _ports_of(
    names: t.Iterable[str], answers: t.Sequence[list[ovsdb.Row]]
) -> dict[str, OvsPort | None]:
    """Return the ports in the answers to the questions about them."""
    bridges, *rows = answers
    return {
        name: _port_of(ports, bridges, links)
        for name, ports, links in zip(names, rows[::2], rows[1::2])
    }


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


def add(ports: t.Mapping[str, OvsPort]) -> dict[str, LinkError]:
    """Make taps, by name, ports of bridges, each with all its settings at once.

    One transaction makes all ports, and waits for the switch once. If the database refuses it, or if the switch does
    not use a port, each such port gets a transaction of its own. Return the errors of the ports that could not be made.
    They are removed again. Raises :class:`LinkError` if the database or the switch does not answer.
    """
    failures: dict[str, LinkError] = {}
    for name in _unused(ports):
        problem = _other_at(name) or _add_anew(name, ports[name])
        if problem is not None:
            failures[name] = LinkError(
                f"Open vSwitch could not use {name} as a port of {ports[name].bridge}: {problem}"
            )
    return failures


def _other_at(name: str) -> str | None:
    """Return which port of somebody else has the name of a new tap, or ``None`` if none has.

    A port for a link of the kernel is none: until the tap was made there was no link of that name, so such a port is
    what remains of an earlier tap. A bond has no interface of its name.
    """
    questions = [
        ovsdb.rows_of("Port", ["_uuid"], name=name),
        ovsdb.rows_of("Interface", ["type"], name=name),
    ]
    ports, links, bridges = ovsdb.select(*questions, _BRIDGES)
    kind = links[0]["type"] if links else "bond"
    if not ports or kind in _LINKS:
        return None
    where = _bridge_of(ports[0], bridges) or "no bridge"
    return f"a port of that name is there, of the type {kind}, on {where}; give the NIC another ifname"


def _add_anew(name: str, port: OvsPort) -> str | None:
    """Make a port in a transaction of its own. Return why it could not be made, or ``None`` if it was."""
    # If an old port has that name and its tap no longer exists, the switch does not use the new tap for it.
    remove(name, wait=True)
    try:
        problem = _add({name: port})[name]
    except ovsdb.RefusedError as exc:
        return "a port of that name is there" if exc.timed_out else str(exc)
    if problem is not None:
        remove(name)
    return problem


def _unused(ports: t.Mapping[str, OvsPort]) -> list[str]:
    """Make ports in one transaction. Return the names of those that the switch does not use now."""
    try:
        problems = _add(ports)
    except ovsdb.RefusedError:
        return [*ports]
    return [name for name, problem in problems.items() if problem is not None]


def _add(ports: t.Mapping[str, OvsPort]) -> dict[str, str | None]:
    """Make ports if no ports have their names.

    Return for each why the switch does not use it, or ``None`` if it does. Raises :class:`LinkError`, or
    :class:`RefusedError` if the database made none of them.
    """
    operations: list[ovsdb.Operation] = []
    for number, (name, port) in enumerate(ports.items()):
        row, link = f"port{number}", f"link{number}"
        ids = {"name": name, "external_ids": ovsdb.as_map(port.ids)}
        settings = {"name": name, "interfaces": ["named-uuid", link]}
        operations += [
            ovsdb.require_none("Port", name=name),
            _insert("Interface", ids, link),
            _insert("Port", {**settings, **_settings(port)}, row),
            _mutate_ports(port.bridge, "insert", ["named-uuid", row]),
        ]
    answers = ovsdb.change(operations, *_questions(*ports))
    found = _ports_of(ports, answers)
    return {
        name: "its row is gone" if port is None else port.error
        for name, port in found.items()
    }


def update(name: str, port: OvsPort, before: OvsPort) -> None:
    """Change the VLANs, the isolation and the external_ids of a port. It stays on its bridge. Raises :class:`LinkError`.

    Settings that ``before`` has already are not written, because a program that made the port may have set more of them.
    If there is nothing to write, this does not wait for the switch.
    """
    changes: list[ovsdb.Operation] = []
    if port.ids != before.ids:
        ids = {"external_ids": ovsdb.as_map(port.ids)}
        changes.append(_update("Interface", name, ids))
    if (port.vlan, port.protected) != (before.vlan, before.protected):
        changes.append(_update("Port", name, _settings(port)))
    if changes:
        ovsdb.change(changes)


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
