# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the errors in the list of bridges that do not depend on the host, and give each bridge its type and MAC address.

Runs on the host, with a JSON list of the wanted bridges as its argument. Prints JSON: problems, each a
sentence, and the bridges.
"""

from __future__ import annotations

import decimal
import hashlib
import ipaddress
import json
import re
import sys
import typing as t
from pathlib import Path

# The kernel limits names by dev_valid_name() and IFNAMSIZ, and refuses the names all and default, which /proc/sys/net has
# for settings of all links. systemd.network(5) would read a pattern, and ip(8) allows no blanks.
NAME = re.compile(
    r"(?!(?:\d+|all|default)\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}\Z", re.ASCII
)


def check_words(bridges: list[dict[str, t.Any]]) -> list[str]:
    """Return the errors in the list that do not depend on the host, one sentence for each."""
    problems = []
    seen: set[str] = set()
    for bridge in bridges:
        name = bridge["name"]
        for option, word in [
            ("name", name),
            *(("ports", p) for p in bridge.get("ports") or []),
        ]:
            where = f"hypervisor_bridges: {name}: {option}: {word!r}"
            if not NAME.match(word):
                problems.append(
                    f"{where} is not a name of a link, which has 1 to 15 letters, digits, '_', '.' or '-', does not "
                    "begin with '.' or '-', and is not only digits, 'all' or 'default'"
                )
            elif word in seen:
                problems.append(f"{where} is in the list twice")
            seen.add(word)
        mac = bridge.get("mac")
        # The address of one station, and not of a group.
        if mac and not re.fullmatch(
            "(?!00(:00){5})[0-9a-f][02468ace](:[0-9a-f]{2}){5}", mac.lower()
        ):
            problems.append(
                f"hypervisor_bridges: {name}: mac: {mac!r} is not a MAC address that a link can have"
            )
        pvid = bridge.get("default_pvid")
        if pvid is not None and not 0 <= pvid <= 4094:
            problems.append(
                f"hypervisor_bridges: {name}: default_pvid: {pvid} is not in 0 to 4094"
            )
        problems += [
            f"hypervisor_bridges: {name}: {option}: a bridge of Open vSwitch always keeps VLANs apart, and each of its "
            "ports has its own VLAN; leave the option out"
            for option in ("vlan_filtering", "default_pvid")
            if bridge.get("type") == "openvswitch" and bridge.get(option) is not None
        ]
        mtu = bridge.get("mtu")
        if mtu is not None and not 68 <= mtu <= 65535:
            problems.append(
                f"hypervisor_bridges: {name}: mtu: {mtu} is not in 68 to 65535"
            )
        for address in bridge.get("addresses") or []:
            try:
                ipaddress.ip_interface(address)
                good = address.rpartition("/")[2].isdigit() and "/" in address
            except ValueError:
                good = False
            if not good:
                problems.append(
                    f"hypervisor_bridges: {name}: addresses: {address!r} is not an address with a prefix length, such "
                    "as 192.0.2.1/24"
                )
    return problems


def check_machine_id(bridges: list[dict[str, t.Any]]) -> list[str]:
    """Return a problem for each bridge whose MAC address needs the machine id, if this host has none."""
    return [
        f"hypervisor_bridges: {bridge['name']}: mac: this host has no machine id (/etc/machine-id), so the role cannot make"
        " a MAC address that no other host has. Run systemd-machine-id-setup on the host, or give the bridge a mac"
        for bridge in bridges
        if not bridge.get("mac") and not machine_id()
    ]


def machine_id() -> str:
    """Return the host's machine id, or an empty text if it has none. An image has none before its first boot."""
    try:
        text = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return text if re.fullmatch("[0-9a-f]{32}", text) else ""


def pinned_mac(bridge: dict[str, t.Any]) -> str:
    """Return the bridge's MAC address: the given one, or an address that no other host has and that stays the same."""
    if bridge.get("mac"):
        return str(bridge["mac"]).lower()
    seed = f"virtaudit.qemu {machine_id()} {bridge['name']}".encode()
    # A locally administered address of one station.
    return "02:" + hashlib.sha256(seed).digest()[:5].hex(":")


def to_bool(value: t.Any) -> bool:
    return str(value).strip().lower() in ("y", "yes", "on", "1", "true", "t", "1.0")


def to_int(value: t.Any) -> int:
    # Ansible takes 9000.0 and 9e3, too.
    return int(decimal.Decimal(value))


def to_list(value: t.Any) -> list[str]:
    if isinstance(value, str):
        # A template makes an empty text of no elements.
        parts: list[t.Any] = value.split(",") if value.strip() else []
    else:
        parts = value if isinstance(value, list) else [value]
    return [str(part).strip() for part in parts]


TYPES: dict[str, t.Callable[[t.Any], t.Any]] = {
    **dict.fromkeys(("mtu", "default_pvid"), to_int),
    **dict.fromkeys(("addresses", "ports"), to_list),
    "vlan_filtering": to_bool,
}


def typed(bridge: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a bridge whose values have the types of the role's argument spec, without those that are null.

    Ansible checks that it can convert each value, for example a text that a template made, and does not convert it. It
    takes null for the name, which no link has.
    """
    found = {
        name: TYPES.get(name, str)(value)
        for name, value in bridge.items()
        if value is not None
    }
    return {"name": "", **found}


def complete(bridge: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a bridge with its type and its MAC address."""
    return {
        **bridge,
        "type": bridge.get("type") or "bridge",
        "mac": pinned_mac(bridge),
    }


def main() -> None:
    wanted = [typed(bridge) for bridge in json.loads(sys.argv[1])]
    problems = [*check_words(wanted), *check_machine_id(wanted)]
    print(json.dumps({"problems": problems, "bridges": [*map(complete, wanted)]}))


if __name__ == "__main__":
    main()
