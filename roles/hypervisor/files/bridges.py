# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work out how the bridges of a host differ from the wanted ones, and the reasons against a change.

Runs on the host as root, with a JSON object as its argument: ``bridges``, the wanted bridges in the form that
words.py prints, and ``networkd``, whether systemd-networkd runs. Changes nothing. Prints JSON: problems (each a
sentence), and what there is to do. openvswitch.py does the same for the bridges of Open vSwitch.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

NETWORK = Path("/etc/systemd/network")
# The alias of a link that the role made, or that the role made a port.
MARK = "virtaudit.qemu"
# Options of a bridge, in the words of ip(8).
VLANS = {"default_pvid": "vlan_default_pvid", "vlan_filtering": "vlan_filtering"}
IPV6 = os.path.isdir("/proc/sys/net/ipv6")
Link = dict[str, t.Any]


def takes_advertisements(name: str) -> bool:
    """Tell whether the kernel would accept an address and a route from a router advertisement that a guest sends."""
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").read_text() != "0\n"
    except FileNotFoundError:
        return False


def advertised_routes(name: str) -> list[str]:
    """Return the routes that came with router advertisements, in the words of ip(8)."""
    command = ["ip", "-json", "-6", "route", "show", "dev", name, "proto", "ra"]
    done = subprocess.run(command, capture_output=True, check=False)
    routes = json.loads(done.stdout or b"[]")
    return [
        " via ".join(r[key] for key in ("dst", "gateway") if key in r) for r in routes
    ]


def links() -> dict[str, Link] | None:
    """Return the links of the host from ip(8), by name, or None if the role has not installed ip(8) yet."""
    command = ["ip", "-json", "-details", "address", "show"]
    try:
        shown = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        return None
    return {link["ifname"]: link for link in json.loads(shown)}


def addresses(link: Link, link_local: bool = False) -> set[str]:
    """Return the addresses of a link. Without link_local, leave out link-local ones, which the kernel may have made."""
    return {
        f"{entry['local']}/{entry['prefixlen']}"
        for entry in link.get("addr_info", [])
        if link_local or entry.get("scope") != "link"
    }


def goes_with(address: str, gone: set[str]) -> bool:
    """Tell whether the kernel may delete an IPv4 address together with others: with the first address of a network, it
    deletes all of them.
    """
    network = ipaddress.ip_interface(address).network
    return network.version == 4 and any(
        ipaddress.ip_interface(each).network == network for each in gone
    )


class Bridges:
    """The wanted bridges, the existing bridges, and the commands that turn the existing ones into the wanted ones."""

    def __init__(self, wanted: list[dict[str, t.Any]], networkd: bool) -> None:
        self.wanted: dict[str, dict[str, t.Any]] = {b["name"]: b for b in wanted}
        self.networkd = networkd
        seen = links()
        # The role has made nothing on such a host, and a later look finds the reasons against a
        # change.
        self.blind = seen is None
        self.links: dict[str, Link] = seen or {}
        self.problems: list[str] = []
        self.files = sorted(NETWORK.glob("50-virtaudit-*.net*"))
        texts = [path.read_text(encoding="utf-8") for path in self.files]
        named = [re.findall(r"^(?:Name|Bridge)=(.*)$", text, re.M) for text in texts]
        marked = {n: i for n, i in self.links.items() if i.get("ifalias") == MARK}
        # The bridges and ports that the role made.
        self.made = {
            names[0] for path, names in zip(self.files, named) if "@" not in path.name
        }
        self.made |= {name for name, link in marked.items() if is_bridge(link)}
        self.ports = {names[0]: names[1] for names in named if len(names) == 2}
        self.ports |= {
            name: link["master"]
            for name, link in marked.items()
            if "master" in link and not is_bridge(link)
        }

    def owner(self, port: str) -> str | None:
        """Return the wanted bridge to which a port belongs."""
        for name, bridge in self.wanted.items():
            if port in (bridge.get("ports") or []):
                return name
        return None

    def stale_files(self) -> list[str]:
        names = set()
        for name, bridge in self.wanted.items() if self.networkd else ():
            ports = [f"{name}@{port}.network" for port in bridge.get("ports") or []]
            names |= {f"{name}.network", *ports}
            if not by_openvswitch(bridge):
                names.add(f"{name}.netdev")
        wanted = {f"50-virtaudit-{name}" for name in names}
        return [str(path) for path in self.files if path.name not in wanted]

    def check(self) -> None:
        """Find the reasons against a change, so that the role refuses it before it changes anything."""
        for name in self.wanted:
            link = self.links.get(name)
            other = by_openvswitch(self.wanted[name])
            kind = "openvswitch" if other else "bridge"
            if link is not None and not is_bridge(link, kind):
                what = "bridge of Open vSwitch's" if other else "bridge"
                self.problem(
                    name, "name", f"{name} is a link of this host, and no {what}"
                )
            elif link is not None and name not in self.made and not other:
                self.problem(
                    name,
                    "name",
                    f"there is a bridge {name} that this role did not make; take it out of the list and leave it to "
                    "the program that made it, or remove it first",
                )
            for port in self.wanted[name].get("ports") or []:
                self.check_port(name, port)
        for name in sorted(self.made - set(self.wanted)):
            others = sorted(
                other
                for other, link in self.links.items()
                if link.get("master") == name and other not in self.ports
            )
            if others:
                self.problems.append(
                    f"hypervisor_bridges: the role would remove {name}, and {', '.join(others)} are ports of it; take "
                    "these NICs from their VMs first (vm_net_detach)"
                )

    def check_port(self, name: str, port: str) -> None:
        link = self.links.get(port)
        if self.blind:
            return
        if link is None:
            self.problem(name, "ports", f"there is no link {port} on this host")
        elif is_bridge(link) or "LOOPBACK" in link["flags"]:
            self.problem(name, "ports", f"{port} cannot be a port of a bridge")
        elif (self.wanted[name].get("mtu") or 0) > (link.get("max_mtu") or 65535):
            self.problem(
                name,
                "mtu",
                f"{port} can have an MTU of {link['max_mtu']} at most, and would drop longer frames",
            )
        elif link.get("master") not in (None, name, self.ports.get(port)) and not (
            # openvswitch.py finds out which bridge it is a port of.
            by_openvswitch(self.wanted[name])
            and link["master"] == "ovs-system"
        ):
            self.problem(name, "ports", f"{port} is a port of {link['master']}")
        elif link.get("master") is None and addresses(link):
            self.problem(
                name,
                "ports",
                f"{port} has the address {', '.join(sorted(addresses(link)))}, which a port of a bridge cannot use. To "
                "make it a port might cut off this host. Take the address from the port first, and give it to the "
                "bridge",
            )

    def problem(self, name: str, option: str, text: str) -> None:
        self.problems.append(f"hypervisor_bridges: {name}: {option}: {text}")

    def removals(self) -> list[str]:
        """Return the commands for ip(8) that take back earlier settings. networkd leaves a link alone that is
        no longer in its files.
        """
        todo = []
        for port, bridge in sorted(self.ports.items()):
            if self.links.get(port, {}).get("master") == bridge != self.owner(port):
                todo.append(f"link set dev {port} nomaster")
                if self.owner(port) is None:
                    todo.append(f'link set dev {port} alias ""')
        for name in sorted(self.made - set(self.wanted)):
            if is_bridge(self.links.get(name, {})):
                todo.append(f"link delete dev {name}")
        return todo

    def settings(self, name: str) -> list[str]:
        """Return the commands for ip(8) that change an existing bridge. networkd sets these values only when it
        makes a link.
        """
        bridge, link = self.wanted[name], self.links.get(name)
        if link is None:
            return []
        todo = []
        if link.get("address") != bridge["mac"] and not by_openvswitch(bridge):
            todo.append(f"link set dev {name} address {bridge['mac']}")
        has = link.get("linkinfo", {}).get("info_data", {})
        for option, word in VLANS.items():
            value = bridge.get(option)
            if value is not None and int(value) != has.get(word):
                todo.append(f"link set dev {name} type bridge {word} {int(value)}")
        # It is useless to delete routes while new ones come in.
        if takes_advertisements(name):
            todo.append(f"echo 0 >/proc/sys/net/ipv6/conf/{name}/accept_ra")
        return todo + [
            f"-6 route delete {r} dev {name} proto ra" for r in advertised_routes(name)
        ]

    def commands(self, name: str) -> list[str]:
        """Return the commands for ip(8) that a bridge needs now. There are none if everything is as it should be."""
        bridge, link = self.wanted[name], self.links.get(name)
        openvswitch = by_openvswitch(bridge)
        todo = []
        if link is None:
            more = [
                f" {word} {int(bridge[option])}"
                for option, word in VLANS.items()
                if bridge.get(option) is not None
            ]
            line = f"link add name {name} address {bridge['mac']} type bridge"
            todo = [] if openvswitch else [line + "".join(more)]
            mode = "eui64" if IPV6 else "none"
            link = {"flags": [], "mtu": None, "inet6_addr_gen_mode": mode}
        todo += self.settings(name)
        todo += [] if openvswitch else self.mark(name, link)
        if link.get("inet6_addr_gen_mode", "none") != "none":
            # This comes before the bridge is up. Otherwise it gets a link-local address, and takes part in the VMs' network.
            todo.append(f"link set dev {name} addrgenmode none")
        if name not in self.links and IPV6:
            todo.append(f"echo 0 >/proc/sys/net/ipv6/conf/{name}/accept_ra")
        if bridge.get("mtu") not in (None, link["mtu"]) and not openvswitch:
            todo.append(f"link set dev {name} mtu {bridge['mtu']}")
        if "UP" not in link["flags"]:
            todo.append(f"link set dev {name} up")
        wanted = {str(ipaddress.ip_interface(a)) for a in bridge.get("addresses") or []}
        gone = addresses(link) - wanted
        todo += [f"address delete {a} dev {name}" for a in sorted(gone)]
        todo += [
            f"address replace {a} dev {name}"
            for a in sorted(wanted & addresses(link))
            if goes_with(a, gone)
        ]
        todo += [
            f"address add {a} dev {name}"
            for a in sorted(wanted - addresses(link, link_local=True))
        ]
        for port in bridge.get("ports") or []:
            todo += self.port_commands(bridge, port)
        return todo

    def port_commands(self, bridge: dict[str, t.Any], port: str) -> list[str]:
        link, todo = self.links.get(port, {"flags": []}), []
        # Without this the port drops frames that the bridge forwards.
        if bridge.get("mtu") not in (None, link.get("mtu")):
            todo.append(f"link set dev {port} mtu {bridge['mtu']}")
        if not by_openvswitch(bridge):
            if link.get("master") != bridge["name"]:
                todo.append(f"link set dev {port} master {bridge['name']}")
            todo += self.mark(port, link)
        if "UP" not in link["flags"]:
            todo.append(f"link set dev {port} up")
        return todo

    def mark(self, name: str, link: Link) -> list[str]:
        """If networkd runs, its files show which links the role made."""
        if self.networkd or link.get("ifalias") == MARK:
            return []
        return [f"link set dev {name} alias {MARK}"]


def is_bridge(link: Link, kind: str = "bridge") -> bool:
    return bool(link.get("linkinfo", {}).get("info_kind") == kind)


def by_openvswitch(bridge: dict[str, t.Any]) -> bool:
    """Tell whether Open vSwitch makes the bridge.

    Then openvswitch.py deals with the bridge and its ports, and this file with their links.
    """
    return bridge.get("type") == "openvswitch"


def main() -> None:
    asked = json.loads(sys.argv[1])
    bridges = Bridges(asked["bridges"], asked["networkd"])
    bridges.check()
    found = {
        "problems": bridges.problems,
        "blind": bridges.blind,
        "stale_files": bridges.stale_files(),
        "removals": bridges.removals(),
        "settings": [
            line for name in bridges.wanted for line in bridges.settings(name)
        ],
        "links": sorted(set(bridges.wanted) & set(bridges.links)),
        "commands": [
            line for name in bridges.wanted for line in bridges.commands(name)
        ],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
