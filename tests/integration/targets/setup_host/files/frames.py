# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends frames as the guest of a VM, and counts those that arrive on the other side.

It writes to a copy of the descriptor that qemu holds (pidfd_getfd(2)), so the frames take the guest's way. It reads with
a packet socket on a link that is not the host's side of the same bridge. It prints JSON: how often each kind arrived.

Usage: frames.py PID IFNAME WITNESS MAC [address=IP] [address6=IP] [vid=N] [gains=N] [kinds=a,b] [late=SECONDS]
With vid it sends each frame with that VLAN tag. With gains each frame must arrive with that additional tag.
After each frame it sends a mark, which is a frame that passes, and waits for the frame until the mark arrives. With late it
waits for so many seconds after the mark, because Open vSwitch asks its daemon about the first frame of a flow, and other
frames overtake this frame.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import time
from ipaddress import IPv4Address, IPv6Address

_SYS_PIDFD_GETFD = 438
_TUNGETVNETHDRSZ = 0x800454D7
_PACKET_AUXDATA = 8
_SOL_PACKET = 263
_TP_STATUS_VLAN_VALID = 0x10
_TCI = struct.Struct("=IIIHHHH")
_SECONDS = 0.5

OTHER_MAC = "52:54:00:66:66:66"
OTHER_IP = "198.51.100.66"
OTHER_IP6 = "2001:db8:66::66"
TARGET_IP = "198.51.100.1"
BROADCAST = "ff:ff:ff:ff:ff:ff"
NO_IP = "0.0.0.0"  # noqa: S104


def mac_bytes(mac: str) -> bytes:
    """Return a MAC's six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(destination: str, source: str, kind: int, payload: bytes) -> bytes:
    """Return an Ethernet frame."""
    head = mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", kind)
    return head + payload


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """Put VLAN tags (ethertype, id) into a frame, the outer one first."""
    inside = b"".join(struct.pack("!HH", kind, vid) for kind, vid in tags)
    return frame[:12] + inside + frame[12:]


def checksum(data: bytes) -> int:
    """Return the Internet checksum."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def ip4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Return an IPv4 packet."""
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    total = checksum(head + addresses)
    return head[:10] + struct.pack("!H", total) + addresses + payload


def ip6(source: str, destination: str, following: int, payload: bytes) -> bytes:
    """Return an IPv6 packet."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, 255)
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    """Return a UDP datagram without a checksum."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """Return an ICMPv6 message with its checksum."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed
    pseudo += struct.pack("!II", len(message), 58)
    return message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]


def arp(operation: int, mac: str, sender: str, target: str) -> bytes:
    """Return an ARP packet."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    own = mac_bytes(mac) + IPv4Address(sender).packed
    return head + own + bytes(6) + IPv4Address(target).packed


def option(kind: int, mac: str) -> bytes:
    """Return the link-layer address option of neighbour discovery."""
    return bytes([kind, 1]) + mac_bytes(mac)


def hop_by_hop(following: int) -> bytes:
    """Return a hop-by-hop header that has only padding."""
    return bytes([following, 0, 1, 4, 0, 0, 0, 0])


def fragment(following: int, offset: int, more: bool) -> bytes:
    """Return a fragment header. The offset is in units of eight bytes."""
    return struct.pack("!BBHI", following, 0, offset << 3 | int(more), 7)


def kinds(mac: str, address: str, address6: str) -> dict[str, bytes]:
    """Return a frame of each kind that a guest with these addresses may send, or must not send."""
    own_link_local = str(link_local(mac))
    everybody, routers = "ff02::1", "ff02::2"
    all6, routers6 = "33:33:00:00:00:01", "33:33:00:00:00:02"
    other_local = str(link_local(OTHER_MAC))

    def v4(source: str, body: bytes = b"hello", protocol: int = 253) -> bytes:
        return ethernet(BROADCAST, mac, 0x0800, ip4(source, TARGET_IP, protocol, body))

    def v6(source: str, following: int, body: bytes, to: str = everybody) -> bytes:
        return ethernet(all6, mac, 0x86DD, ip6(source, to, following, body))

    def nd(kind: int, source: str, target: str, options: bytes = b"") -> bytes:
        flags = struct.pack("!I", 0x20000000 if kind == 136 else 0)
        body = flags + IPv6Address(target).packed + options
        return v6(source, 58, icmp6(source, everybody, kind, body))

    def dhcp(source: int, destination: int, address: str) -> bytes:
        body = udp(source, destination, bytes(240))
        packet = ip4(address, "255.255.255.255", 17, body)
        return ethernet(BROADCAST, mac, 0x0800, packet)

    advert = icmp6(own_link_local, everybody, 134, bytes(12))
    neighbour = struct.pack("!I", 0x20000000) + IPv6Address(OTHER_IP6).packed
    foreign_na = icmp6(own_link_local, everybody, 136, neighbour)
    own_v4 = v4(address)
    solicit = icmp6(own_link_local, routers, 133, bytes(4) + option(1, mac))
    nonce = bytes([14, 1, 1, 2, 3, 4, 5, 6])
    long_head = bytes([58, 0, 1, 4, 0, 0, 0, 0])
    return {
        # Frames with the guest's own addresses.
        "own_ip4": own_v4,
        "own_ip6": v6(address6, 253, b"hello"),
        "own_arp": ethernet(BROADCAST, mac, 0x0806, arp(1, mac, address, TARGET_IP)),
        "arp_probe": ethernet(BROADCAST, mac, 0x0806, arp(1, mac, NO_IP, address)),
        "dhcp_client": dhcp(68, 67, NO_IP),
        "dad": nd(135, "::", address6),
        "dad_nonce": nd(135, "::", address6, nonce),
        "own_ns": nd(135, address6, "2001:db8::1", option(1, mac)),
        "own_ns_link_local": nd(135, own_link_local, "2001:db8::1", option(1, mac)),
        "own_na": nd(136, address6, address6, option(2, mac)),
        "own_rs": ethernet(
            routers6, mac, 0x86DD, ip6(own_link_local, routers, 58, solicit)
        ),
        "mld_report": v6(
            "::",
            0,
            bytes([58, 0, 5, 2, 0, 0, 1, 0]) + icmp6("::", "ff02::16", 143, bytes(4)),
            "ff02::16",
        ),
        "big_ping6": v6(
            address6,
            44,
            fragment(58, 0, True) + icmp6(address6, everybody, 128, bytes(1000)),
        ),
        # Frames with addresses that the guest does not have.
        "spoofed_mac": ethernet(BROADCAST, OTHER_MAC, 0x0800, own_v4[14:]),
        "spoofed_arp_mac": ethernet(
            BROADCAST, mac, 0x0806, arp(2, OTHER_MAC, address, TARGET_IP)
        ),
        "spoofed_arp_ip": ethernet(
            BROADCAST, mac, 0x0806, arp(2, mac, OTHER_IP, TARGET_IP)
        ),
        "spoofed_ip4": v4(OTHER_IP),
        "spoofed_ip6": v6(OTHER_IP6, 253, b"hello"),
        "spoofed_link_local": v6(other_local, 253, b"hello"),
        "na_foreign_target": nd(136, address6, OTHER_IP6, option(2, mac)),
        "na_foreign_mac": nd(136, address6, address6, option(2, OTHER_MAC)),
        "na_foreign_mac_second": nd(
            136, address6, address6, nonce + option(2, OTHER_MAC)
        ),
        "na_foreign_hop_by_hop": v6(own_link_local, 0, hop_by_hop(58) + foreign_na),
        "na_foreign_fragment": v6(
            own_link_local, 44, fragment(58, 0, True) + foreign_na[:8]
        ),
        "ns_foreign_source": nd(135, OTHER_IP6, "2001:db8::1", option(1, mac)),
        "ns_foreign_mac": nd(135, address6, "2001:db8::1", option(1, OTHER_MAC)),
        "dad_foreign": nd(135, "::", OTHER_IP6),
        # Frames that only routers, servers and switches send.
        "ra": v6(own_link_local, 58, advert),
        "ra_hop_by_hop": v6(own_link_local, 0, hop_by_hop(58) + advert),
        "ra_destination_options": v6(own_link_local, 60, hop_by_hop(58) + advert),
        "ra_fragment": v6(own_link_local, 44, fragment(58, 0, True) + advert[:8]),
        "ra_fragment_hidden": v6(
            own_link_local, 44, fragment(60, 0, True) + long_head[:8]
        ),
        "ra_fragment_hidden_rest": v6(
            own_link_local, 44, fragment(60, 1, False) + advert
        ),
        "ra_atomic_fragment": v6(own_link_local, 44, fragment(58, 0, False) + advert),
        "redirect": v6(
            own_link_local, 58, icmp6(own_link_local, everybody, 137, bytes(36))
        ),
        "dhcp_server": dhcp(67, 68, address),
        "dhcp_server_other_port": dhcp(6700, 68, address),
        "dhcp6_server": v6(own_link_local, 17, udp(547, 546, bytes(40))),
        "bpdu": ethernet("01:80:c2:00:00:00", mac, 38, b"\x42\x42\x03" + bytes(35)),
        "lldp": ethernet("01:80:c2:00:00:0e", mac, 0x88CC, bytes(46)),
        "tagged": tagged(own_v4, (0x8100, 42)),
        "priority_tagged": tagged(own_v4, (0x8100, 0)),
        "qinq": tagged(own_v4, (0x88A8, 42), (0x8100, 43)),
        "double_tagged": tagged(own_v4, (0x8100, 42), (0x8100, 43)),
        "unknown_ethertype": ethernet(BROADCAST, mac, 0x88B5, bytes(46)),
        "llc": ethernet(BROADCAST, mac, 46, b"\xaa\xaa\x03" + bytes(43)),
        "rarp": ethernet(BROADCAST, mac, 0x8035, arp(3, mac, address, address)),
        "broken_ip4": ethernet(BROADCAST, mac, 0x0800, b"\x41" + own_v4[15:]),
        "broken_ip6": ethernet(all6, mac, 0x86DD, v6(address6, 58, advert)[14:50]),
    }


def link_local(mac: str) -> IPv6Address:
    """Return the address that a guest makes from its MAC."""
    raw = mac_bytes(mac)
    return IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]
    )


class Witness:
    """Reads all frames that arrive at a link, with their VLAN tags. Use it as a context manager."""

    def __init__(self, ifname: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.bind((ifname, 3))

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_ignored: object) -> None:
        self._socket.close()

    def frames(self, until: bytes, seconds: float = _SECONDS) -> list[bytes]:
        """Return the frames that arrive up to the frame ``until``. Wait at most for so many seconds."""
        found = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                frame, extra, _flags, _address = self._socket.recvmsg(65536, 256)
            except socket.timeout:
                break
            for _level, _kind, data in extra:
                status, _length, _snap, _mac, _net, tci, kind = _TCI.unpack_from(data)
                if status & _TP_STATUS_VLAN_VALID:
                    frame = tagged(frame, (kind or 0x8100, tci))
            found.append(frame)
            if frame == until:
                break
        return found


def guest_fd(pid: int, ifname: str) -> int:
    """Return a copy of the descriptor by which a qemu sends to a tap or macvtap."""
    with open(f"/sys/class/net/{ifname}/ifindex", encoding="ascii") as handle:
        node = f"/dev/tap{handle.read().strip()}"
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with open(f"/proc/{pid}/fdinfo/{entry}", encoding="utf-8") as handle:
            ours = f"iff:\t{ifname}\n" in handle.read()
        if ours or os.readlink(f"/proc/{pid}/fd/{entry}") == node:
            fd = libc.syscall(_SYS_PIDFD_GETFD, pidfd, int(entry), 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            return int(fd)
    raise LookupError(f"pid {pid} holds no descriptor of {ifname}")


def send(fd: int, frame: bytes) -> bool:
    """Write a frame as the guest. Tell whether the link took it. A link that is down takes no frame."""
    size = struct.unpack("=i", fcntl.ioctl(fd, _TUNGETVNETHDRSZ, bytes(4)))[0]
    try:
        os.write(fd, bytes(size) + frame)
    except OSError:
        return False
    return True


def arrivals(
    fd: int,
    witness: Witness,
    frame: bytes,
    mark: bytes,
    late: float,
    *tags: tuple[int, int],
) -> int:
    """Send a frame, and then a mark that passes. Return how often the frame arrived before the mark, or so late after it.

    ``tags`` are the VLAN tags that frames got on the way.
    """
    send(fd, frame)
    send(fd, mark)
    found = witness.frames(tagged(mark, *tags))
    if late:
        found += witness.frames(b"", late)
    return found.count(tagged(frame, *tags))


def main() -> None:
    """Send a frame of each requested kind, and print how often each kind arrived."""
    pid, ifname, link, mac = sys.argv[1:5]
    given = dict(argument.split("=", 1) for argument in sys.argv[5:])
    address = given.get("address", "192.0.2.7")
    address6 = given.get("address6", "2001:db8::7")
    frames = kinds(mac, address, address6)
    mark = ethernet(BROADCAST, mac, 0x0806, arp(1, mac, NO_IP, "203.0.113.99"))
    if "vid" in given:
        tag = (0x8100, int(given["vid"]))
        frames = {kind: tagged(frame, tag) for kind, frame in frames.items()}
        mark = tagged(mark, tag)
    gained = [(0x8100, int(given["gains"]))] if "gains" in given else []
    chosen = given["kinds"].split(",") if "kinds" in given else list(frames)
    late = float(given.get("late", "0"))
    fd = guest_fd(int(pid), ifname)
    with Witness(link) as witness:
        counted = {
            kind: arrivals(fd, witness, frames[kind], mark, late, *gained)
            for kind in chosen
        }
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
