# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the networks of NICs that ip and nft show with the records. It shares no code with the collection."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.virtaudit.qemu.tests.fault import switch

Fields = dict[str, str]
# The network of a NIC: each value by its name, from its records or from the kernel.
Network = dict[str, str]

_TABLE = "virtaudit_1"
_FAMILIES = ("bridge", "netdev")
_NAMES = ("source", "vlan", "filter", "addresses", "isolated", "link")
# The word that a record has for a value that is not set.
_NOTHING = {"filter": "none", "isolated": "no", "link": "up"}
# The name of the chain by which a macvtap's frames enter the table ends with the index of the macvtap.
_HOOK = "nic_"


def violations(trail: list[Fields]) -> list[str]:
    """Return how the networks of a VM's NICs differ from its records, and what is left of NICs that nobody holds."""
    recorded, found = _recorded(trail), []
    links = {f"vt{mac.replace(':', '')}": mac for mac in recorded}
    allowed = {family: _allowed(family) for family in _FAMILIES}
    switched = switch.ports()
    for name, mac in links.items():
        shown = _shown(name, mac, allowed)
        if name in switched:
            shown.update(source=switch.BRIDGE, vlan=switched[name])
        wanted = {key: value for key, value in recorded[mac].items() if value}
        if shown != wanted:
            found.append(f"{mac}: records say {wanted}, the kernel {shown}")
    found += [
        f"Open vSwitch has a port {name}, which nobody has"
        for name in sorted(switched.keys() - links.keys())
    ]
    for family, by_link in allowed.items():
        for name, values in by_link.items():
            if name not in links:
                found.append(f"table {family} has {values} of {name}, which nobody has")
    return found


def _recorded(trail: list[Fields]) -> dict[str, Network]:
    """Return the network that the records give each granted NIC, by MAC."""
    prepared: dict[str, Network] = {}
    granted: dict[str, Network] = {}
    for each in trail:
        if each["res"] != "success":
            continue
        reason = each.get("reason")
        if reason == "prepare":
            prepared[each["net"]] = _named(each)
        elif reason in ("start", "attach"):
            mac = each["new-net"]
            now, before = _named(each), prepared.pop(mac, {})
            # A hand-over without a source says that the link was on no network any more.
            granted[mac] = {**before, **now} if "source" in now else now
        elif reason == "update" and each["net"] in granted:
            granted[each["net"]].update(_named(each, "new-"))
        elif reason == "detach":
            granted.pop(each["old-net"], None)
    return granted


def _named(fields: Fields, prefix: str = "") -> Network:
    found = {name: fields[prefix + name] for name in _NAMES if prefix + name in fields}
    return {
        name: "" if value in (_NOTHING.get(name), "?") else value
        for name, value in found.items()
    }


def _shown(name: str, mac: str, allowed: dict[str, dict[str, set[str]]]) -> Network:
    """Return the network that the kernel shows for a link."""
    done = subprocess.run(
        ["ip", "-j", "-d", "link", "show", name],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return {}
    link: dict[str, Any] = json.loads(done.stdout)[0]
    source = link.get("master") or link.get("link")
    shown = {} if source is None else {"source": source}
    port = Path(f"/sys/class/net/{name}/brport/isolated")
    if port.exists() and port.read_text("ascii").strip() == "1":
        shown["isolated"] = "yes"
    if "UP" not in link["flags"]:
        shown["link"] = "down"
    is_tap = link.get("linkinfo", {}).get("info_kind") == "tun"
    values = allowed["bridge" if is_tap else "netdev"].get(name, set())
    if not is_tap and values and f"chain {_HOOK}{link['ifindex']}" not in values:
        values = {f"no chain takes its frames, and it has {sorted(values)}"}
    if values:
        shown.update(_filter(values, mac))
    return shown


def _filter(values: set[str], mac: str) -> Network:
    """Return the filter of a link, from its elements in the sets."""
    addresses = {value.partition(" ")[2] for value in values if value.startswith("ip ")}
    if not {"nics", f"mac {mac}"} <= values:
        return {"filter": f"half: {sorted(values)}"}
    if "addressed" not in values:
        return {"filter": "mac"} if not addresses else {"filter": f"mac, {addresses}"}
    # A NIC that has any other IPv6 address also has the link-local address of its MAC.
    first, *rest = bytes.fromhex(mac.replace(":", ""))
    own = bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])
    addresses.discard(str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + own)))
    ordered = sorted(
        map(ipaddress.ip_network, addresses), key=lambda each: each.version
    )
    words = (str(each[0]) if each.num_addresses == 1 else str(each) for each in ordered)
    return {"filter": "address", "addresses": ",".join(words)}


def _allowed(family: str) -> dict[str, set[str]]:
    """Return the elements that the table has of each link, by its name, or by its index if the link is gone."""
    done = subprocess.run(
        ["nft", "-j", "list", "table", family, _TABLE],
        check=False,
        capture_output=True,
        text=True,
    )
    names = {
        path.read_text("ascii").strip(): path.parent.name
        for path in Path("/sys/class/net").glob("*/ifindex")
    }
    found: dict[str, set[str]] = {}
    for item in json.loads(done.stdout)["nftables"] if not done.returncode else ():
        kind, told = next(iter(item.items()))
        if kind == "chain" and told["name"].startswith(_HOOK):
            index = told["name"][len(_HOOK) :]
            name = names.get(index, index)
            found.setdefault(name, set()).add(f"chain {told['name']}")
        elif kind == "set":
            for element in told.get("elem", ()):
                parts = element["concat"] if isinstance(element, dict) else [element]
                value = _value(told["name"], parts[1:])
                found.setdefault(str(parts[0]), set()).add(value)
    return found


def _value(name: str, rest: list[Any]) -> str:
    """Return what an element says about its link: its value, or the name of its set if it has no value."""
    if name == "macs":
        return f"mac {rest[0]}"
    if name.startswith(("addresses", "networks")):
        return f"ip {_network(rest[0])}"
    return name


def _network(value: Any) -> str:
    """Return an address or a network from nft's JSON in the usual form."""
    if isinstance(value, dict) and "range" in value:
        first, last = map(ipaddress.ip_address, value["range"])
        (whole,) = ipaddress.summarize_address_range(first, last)
        return str(whole)
    if isinstance(value, dict):
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return str(value)
