# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Be the guests of a bridge, and say what that does to the host. Runs on it as root, prints JSON.

With the argument ``links BRIDGE`` two taps as of VMs come and go, and it says what networkd and udev make of them, and
which MAC address the bridge has. With ``advertise BRIDGE`` a guest sends router advertisements, and it says which
addresses and routes the bridge has then. It shares no code with the role.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import subprocess
import sys
import time
from typing import Any

TAPS = ("vt525400f30001", "vt525400f30002")
PREFIX = "2001:db8:bad::"
SPACE = "molguest"


def run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def mac(link: str) -> str:
    (shown,) = json.loads(run("ip", "-json", "link", "show", "dev", link))
    return str(shown["address"])


def links(bridge: str) -> dict[str, Any]:
    macs, managers = [mac(bridge)], {}
    for number, tap in enumerate(TAPS):
        run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        run("ip", "link", "set", "dev", tap, "master", bridge, "up")
        # Lower than the bridge's own, which a bridge would take over.
        run("ip", "link", "set", "dev", tap, "address", f"00:00:00:00:00:0{number + 1}")
        macs.append(mac(bridge))
    run("udevadm", "settle")
    for tap in TAPS:
        found = run("udevadm", "info", f"/sys/class/net/{tap}").splitlines()
        wanted = ("E: NM_UNMANAGED=", "E: ID_NET_LINK_FILE=")
        listed = run("networkctl", "--no-legend", "--no-pager", "list", tap).split()
        managers[tap] = {
            "udev": sorted(line for line in found if line.startswith(wanted)),
            "networkd": listed[-1],
            "mac": mac(tap),
        }
    for tap in TAPS:
        run("ip", "link", "delete", "dev", tap)
        macs.append(mac(bridge))
    return {"macs": macs, "managers": managers}


def send() -> None:
    """Send router advertisements with a prefix, as RFC 4861 has them, out of the guest's interface."""
    index = socket.if_nametoindex("guest")
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = ipaddress.IPv6Address(PREFIX).packed
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + prefix
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as out:
        out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        for _round in range(3):
            out.sendto(head + option, ("ff02::1", 0, 0, index))
            time.sleep(0.3)


def advertise(bridge: str) -> dict[str, Any]:
    run("ip", "netns", "add", SPACE)
    try:
        pair = ("link", "add", "molhost", "type", "veth", "peer", "name", "guest")
        run("ip", *pair, "netns", SPACE)
        run("ip", "link", "set", "dev", "molhost", "master", bridge, "up")
        within = ("ip", "netns", "exec", SPACE)
        run(*within, "ip", "link", "set", "dev", "guest", "up")
        # A link-local address takes a second or two before it may be used.
        for _round in range(50):
            shown = run(*within, "ip", "-6", "address", "show", "dev", "guest")
            if "fe80" in shown and "tentative" not in shown:
                break
            time.sleep(0.1)
        run(*within, sys.executable, "-c", sys.argv[3], "send")
        routes = json.loads(run("ip", "-json", "-6", "route", "show", "dev", bridge))
        shown = json.loads(run("ip", "-json", "address", "show", "dev", bridge))
    finally:
        # The guest's interface goes with it, and the bridge's port with that.
        run("ip", "netns", "delete", SPACE)
    return {
        "addresses": [entry["local"] for entry in shown[0]["addr_info"]],
        "routes": sorted(route["dst"] for route in routes),
    }


def main() -> None:
    if sys.argv[1] == "send":
        send()
    else:
        deed = {"links": links, "advertise": advertise}[sys.argv[1]]
        print(json.dumps(deed(sys.argv[2])))


if __name__ == "__main__":
    main()
