# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acts as a neighbour of a guest, and asks by neighbour solicitation for an address that the guest chose itself.

Usage: heard.py NEIGHBOUR IFNAME
It prints JSON: how often the question came to the guest's link, and how many addresses the host itself has there.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from ipaddress import IPv6Address

import frames

_TARGET = IPv6Address("2001:db8::1234:5678")
# The multicast group of all hosts whose address has this end, and the MAC of the group.
_GROUP, _GROUP_MAC = "ff02::1:ff34:5678", "33:33:ff:34:56:78"


def main() -> None:
    """Ask once, and listen."""
    neighbour, ifname = sys.argv[1:3]
    body = bytes(4) + _TARGET.packed + frames.option(1, frames.OTHER_MAC)
    message = frames.icmp6("2001:db8::9", _GROUP, 135, body)
    packet = frames.ip6("2001:db8::9", _GROUP, 58, message)
    question = frames.ethernet(_GROUP_MAC, frames.OTHER_MAC, 0x86DD, packet)
    with frames.Witness(ifname) as guest:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
            sender.bind((neighbour, 0))
            sender.send(question)
        heard = guest.frames(question).count(question)
    words = ["ip", "-j", "address", "show", "dev", ifname]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    host = sum(len(each["addr_info"]) for each in json.loads(done.stdout))
    print(json.dumps({"guest": heard, "host": host}))


if __name__ == "__main__":
    main()
