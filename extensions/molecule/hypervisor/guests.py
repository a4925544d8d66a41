# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acts as the guests of a bridge, and reports the effect on the host. It runs on the host as root, and prints JSON.

With the argument ``links BRIDGE`` it makes and removes two taps like those of VMs. It reports how networkd and udev
treat them, and which MAC address the bridge has. With ``advertise BRIDGE`` it sends router advertisements out of a tap,
and reports which addresses and routes the bridge has after that. It shares no code with the role.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
import time
from typing import Any

TAPS = ("vt525400f30001", "vt525400f30002")
PREFIX = "2001:db8:bad::"


def run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def mac(link: str) -> str:
    (shown,) = json.loads(run("ip", "-json", "link", "show", "dev", link))
    return str(shown["address"])


def networkd_state(link: str) -> str:
    """Return networkd's state of a link. Wait until networkd has one, which takes a while on a busy host."""
    for _round in range(100):
        listed = run("networkctl", "--no-legend", "--no-pager", "list", link).split()
        if listed[-1] not in ("pending", "initialized"):
            break
        time.sleep(0.2)
    return listed[-1]


def links(bridge: str) -> dict[str, Any]:
    macs, managers = [mac(bridge)], {}
    for number, tap in enumerate(TAPS):
        run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        run("ip", "link", "set", "dev", tap, "master", bridge, "up")
        # This MAC is lower than the bridge's own, and a bridge would take over the lowest MAC of its ports.
        run("ip", "link", "set", "dev", tap, "address", f"00:00:00:00:00:0{number + 1}")
        macs.append(mac(bridge))
    run("udevadm", "settle")
    for tap in TAPS:
        found = run("udevadm", "info", f"/sys/class/net/{tap}").splitlines()
        wanted = ("E: NM_UNMANAGED=", "E: ID_NET_LINK_FILE=")
        managers[tap] = {
            "udev": sorted(line for line in found if line.startswith(wanted)),
            "networkd": networkd_state(tap),
            "mac": mac(tap),
        }
    for tap in TAPS:
        run("ip", "link", "delete", "dev", tap)
        macs.append(mac(bridge))
    return {"macs": macs, "managers": managers}


def advertisement() -> bytes:
    """Return a router advertisement with a prefix (RFC 4861), in the Ethernet frame that a guest would send."""
    source = ipaddress.IPv6Address("fe80::f3").packed
    everyone = ipaddress.IPv6Address("ff02::1").packed
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = ipaddress.IPv6Address(PREFIX).packed
    body = head + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + prefix
    # The checksum includes the pseudo-header (RFC 8200, 8.1).
    summed = source + everyone + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    total = sum(struct.unpack(f"!{len(summed + body) // 2}H", summed + body))
    total = (total & 0xFFFF) + (total >> 16)
    check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    body = body[:2] + struct.pack("!H", check) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255)
    # The frame goes to all nodes, comes from the guest, and contains IPv6.
    ethernet = bytes.fromhex("33 33 00 00 00 01  52 54 00 f3 00 01  86 dd")
    return ethernet + packet + source + everyone + body


def advertise(bridge: str) -> dict[str, Any]:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    try:
        # linux/if_tun.h: TUNSETIFF; IFF_TAP and IFF_NO_PI
        wanted = struct.pack("16sH22x", TAPS[0].encode(), 0x0002 | 0x1000)
        fcntl.ioctl(tap, 0x400454CA, wanted)
        run("ip", "link", "set", "dev", TAPS[0], "master", bridge, "up")
        # The advertisement is sent after the port forwards, and three times, as a router does when it starts.
        for _round in range(3):
            time.sleep(0.5)
            os.write(tap, advertisement())
        time.sleep(1)
        command = ("ip", "-json", "-6", "route", "show", "dev", bridge)
        routes = json.loads(run(*command))
        shown = json.loads(run("ip", "-json", "address", "show", "dev", bridge))
    finally:
        # The kernel removes the tap and the bridge's port with this descriptor.
        os.close(tap)
    return {
        "addresses": [entry["local"] for entry in shown[0]["addr_info"]],
        "routes": sorted(route["dst"] for route in routes),
    }


def main() -> None:
    deed = {"links": links, "advertise": advertise}[sys.argv[1]]
    print(json.dumps(deed(sys.argv[2])))


if __name__ == "__main__":
    main()
