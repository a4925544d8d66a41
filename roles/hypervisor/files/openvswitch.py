# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work out how the bridges of Open vSwitch differ from the wanted ones, and the reasons against a change.

Runs on the host as root, with a JSON object as its argument: ``bridges``, all wanted bridges in the form that
words.py prints, and ``installs``, whether the role is about to install Open vSwitch. Changes nothing. Prints
JSON: problems (each a sentence), and what there is to do, in the words of ovs-vsctl(8). Open vSwitch makes its
bridges again at each boot.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

# The mark in external_ids of a bridge or a port that the role made.
MARK = ("virtaudit-role", "hypervisor")
DATABASES = (
    Path("/etc/openvswitch/conf.db"),
    Path("/var/lib/openvswitch/conf.db"),
)
SET_MARK = f"external-ids:{MARK[0]}={MARK[1]}"
Row = dict[str, t.Any]


def ask(*command: str) -> str:
    """Return the answer of ovs-vsctl. Raises CalledProcessError if Open vSwitch does not run."""
    asked = ["ovs-vsctl", "--timeout=10", *command]
    return subprocess.run(asked, capture_output=True, check=True, text=True).stdout


def table(name: str, *columns: str) -> dict[str, Row]:
    """Return the rows of a table of Open vSwitch's database, by their names.

    By RFC 7047, 5.1, maps and sets are pairs.
    """
    told = json.loads(
        ask("--format=json", f"--columns={','.join(('name', *columns))}", "list", name)
    )
    rows = {}
    for values in told["data"]:
        row = dict(zip(told["headings"], values))
        for column, value in row.items():
            if isinstance(value, list):
                row[column] = dict(value[1]) if value[0] == "map" else None
        rows[row["name"]] = row
    return rows


def is_ours(row: Row) -> bool:
    return (row["external_ids"] or {}).get(MARK[0]) == MARK[1]


class Switch:
    """The wanted bridges of Open vSwitch, its existing bridges, and the commands that turn the existing ones into the
    wanted ones."""

    def __init__(self, bridges: list[dict[str, t.Any]], there: bool) -> None:
        wanted = [b for b in bridges if b.get("type") == "openvswitch"]
        self.wanted: dict[str, dict[str, t.Any]] = {b["name"]: b for b in wanted}
        self.bridges: dict[str, Row] = {}
        self.interfaces: dict[str, Row] = {}
        # The bridge of each port, and the ports that the role made.
        self.ports: dict[str, str] = {}
        self.made: set[str] = set()
        if there:
            self.bridges = table("Bridge", "external_ids", "other_config")
            self.interfaces = table("Interface", "mtu_request")
            self.made = {
                n for n, p in table("Port", "external_ids").items() if is_ours(p)
            }
            for bridge in self.bridges:
                for port in ask("list-ports", bridge).split():
                    self.ports[port] = bridge

    def gone(self) -> list[str]:
        """Return the bridges that the role made and that are no longer wanted."""
        made = [name for name, row in self.bridges.items() if is_ours(row)]
        return sorted(set(made) - set(self.wanted))

    def problems(self) -> list[str]:
        found = []
        for name, bridge in self.wanted.items():
            if name in self.bridges and not is_ours(self.bridges[name]):
                found.append(
                    f"hypervisor_bridges: {name}: name: Open vSwitch has a bridge {name} that this role did not make; "
                    "take it out of the list and leave it to the program that made it, or remove it first"
                )
            for port in bridge.get("ports") or []:
                other = self.ports.get(port, name)
                if other != name and port not in self.made:
                    found.append(
                        f"hypervisor_bridges: {name}: ports: {port} is a port of {other}"
                    )
        for name in self.gone():
            others = sorted(
                port
                for port, bridge in self.ports.items()
                if bridge == name and port not in self.made
            )
            if others:
                found.append(
                    f"hypervisor_bridges: the role would remove {name}, and {', '.join(others)} are ports of it; take "
                    "these NICs from their VMs first (vm_net_detach)"
                )
        return found

    def removals(self) -> list[str]:
        gone = self.gone()
        given = {p: n for n, b in self.wanted.items() for p in b.get("ports") or []}
        ports = [
            f"ovs-vsctl del-port {bridge} {port}"
            for port, bridge in sorted(self.ports.items())
            if port in self.made and bridge not in gone and given.get(port) != bridge
        ]
        return [f"ovs-vsctl del-br {name}" for name in gone] + ports

    def commands(self) -> list[str]:
        """Return the commands that the wanted bridges need. There are none if everything is as it should be."""
        todo = []
        for name, bridge in self.wanted.items():
            row = self.bridges.get(name)
            parts = [] if row else [f"add-br {name}", f"set Bridge {name} {SET_MARK}"]
            # Without this the bridge takes the lowest address of its ports, which changes as VMs
            # come and go.
            config = (row["other_config"] if row else None) or {}
            if config.get("hwaddr") != bridge["mac"]:
                mac = f"""'"{bridge["mac"]}"'"""
                parts.append(f"set Bridge {name} other-config:hwaddr={mac}")
            mtu = self.interfaces.get(name, {}).get("mtu_request")
            if bridge.get("mtu") not in (None, mtu):
                parts.append(f"set Interface {name} mtu_request={bridge['mtu']}")
            for port in bridge.get("ports") or []:
                if self.ports.get(port) != name:
                    parts += [f"add-port {name} {port}", f"set Port {port} {SET_MARK}"]
            if parts:
                # This is one transaction, so that everything happens or nothing.
                todo.append("ovs-vsctl --timeout=30 " + " -- ".join(parts))
        return todo


def has_ours() -> bool:
    """Tell whether the database of an Open vSwitch that does not run may have bridges that the role made."""
    texts = (path.read_text(errors="replace") for path in DATABASES if path.exists())
    return any(MARK[0] in text for text in texts)


def unanswered(installs: bool, wanted: bool) -> list[str]:
    """Return why the role cannot make bridges of Open vSwitch on this host."""
    if not wanted or installs:
        return []
    return [
        "hypervisor_bridges: type: openvswitch needs Open vSwitch, which this host does not have, and no package that "
        "the role installs has it; install it first (RHEL: openvswitch of the Fast Datapath repository), or name its "
        "package in hypervisor_packages"
    ]


def main() -> None:
    asked = json.loads(sys.argv[1])
    there = shutil.which("ovs-vsctl") is not None
    wanted = any(b.get("type") == "openvswitch" for b in asked["bridges"])
    problems = [] if there else unanswered(asked["installs"], wanted)
    try:
        switch = Switch(asked["bridges"], there)
    except subprocess.CalledProcessError as exc:
        switch = Switch(asked["bridges"], there=False)
        if wanted or has_ours():
            problems.append(
                f"hypervisor_bridges: type: openvswitch: Open vSwitch does not answer ({exc.stderr.strip()}); start it"
                " first"
            )
    found = {
        "blind": not there,
        "problems": problems + switch.problems(),
        "removals": switch.removals(),
        "commands": switch.commands(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
