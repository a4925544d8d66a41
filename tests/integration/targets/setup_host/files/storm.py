# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends frames as the guest of a VM without a pause, and counts those that arrive at other links.

Usage: storm.py PID IFNAME MAC CALM WITNESS...
It makes the file CALM.begun when it begins, and ends when a file CALM exists. It prints JSON: how many frames it sent, and how many
frames arrived at each witness, with the guest's own addresses and with other addresses.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

import frames

_OWN = ("own_arp", "arp_probe", "dhcp_client")
# The kinds of frames that both levels of the filter drop.
_SPOOFED = (
    "spoofed_mac",
    "spoofed_arp_mac",
    "na_foreign_mac",
    "ra",
    "ra_fragment",
    "dhcp_server",
    "unknown_ethertype",
)


class Count(threading.Thread):
    """Counts the frames that arrive at a link."""

    def __init__(self, link: str, known: dict[bytes, str]) -> None:
        super().__init__()
        self.link, self._known = link, known
        self.own = self.spoofed = 0
        self._calm = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.settimeout(0.5)
        self._socket.bind((link, 3))

    def run(self) -> None:
        """Count until the storm is over and no frame arrives any more."""
        while True:
            try:
                frame = self._socket.recv(65536)
            except socket.timeout:
                if self._calm.is_set():
                    return
                continue
            kind = self._known.get(frame)
            self.own += kind in _OWN
            self.spoofed += kind in _SPOOFED

    def end(self) -> None:
        """Count the frames that are still on their way."""
        self._calm.set()
        self.join()


def main() -> None:
    """Send until the file CALM exists."""
    pid, ifname, mac, calm = sys.argv[1:5]
    kinds = frames.kinds(mac, "192.0.2.7", "2001:db8::7")
    chosen = [kinds[kind] for kind in (*_OWN, *_SPOOFED)]
    counts = [
        Count(link, {kinds[kind]: kind for kind in kinds}) for link in sys.argv[5:]
    ]
    fd = frames.guest_fd(int(pid), ifname)
    for count in counts:
        count.start()
    sent = 0
    while not Path(calm).exists():
        sent += sum(frames.send(fd, frame) for frame in chosen)
        Path(f"{calm}.begun").touch()
    for count in counts:
        count.end()
    told = {"sent": sent, "own": {}, "spoofed": {}}
    told["own"] = {count.link: count.own for count in counts}
    told["spoofed"] = {count.link: count.spoofed for count in counts}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
