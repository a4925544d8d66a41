# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads what the kernel itself recorded about opens of network devices. The kernel records them if audit rules
tell it to (``auditctl(8)``). The rules can have any key::

    -a always,exit -F arch=b64 -F path=/dev/net/tun -F perm=rw -F key=K
    -a always,exit -F arch=b64 -F path=/dev/vhost-net -F perm=rw -F key=K
    -a always,exit -F arch=b64 -S open,creat,openat,openat2,open_by_handle_at -F devmajor=N -F key=K
    -a always,exit -F arch=b64 -S ioctl -F a1=0x400454ca -F key=K

N is the major number of macvtap or of vhost-vdpa in ``/proc/devices``. 0x400454ca is TUNSETIFF.

The event of an open has a SYSCALL, a CWD and a PATH record. The event of a TUNSETIFF has only a SYSCALL record.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .record import known_id

Kind = t.Literal["tap", "macvtap", "vhost", "vdpa"]

_CREAT, _BY_HANDLE = "creat", "open_by_handle_at"
# include/uapi/linux/audit.h: AUDIT_ARCH_*; the numbers of what opens a node, in each table of system calls.
_OPENS = {
    "c000003e": {2: "open", 85: _CREAT, 257: "openat", 304: _BY_HANDLE, 437: "openat2"},
    "40000003": {5: "open", 8: _CREAT, 295: "openat", 342: _BY_HANDLE, 437: "openat2"},
    "c00000b7": {56: "openat", 265: _BY_HANDLE, 437: "openat2"},
    "c00000f3": {56: "openat", 265: _BY_HANDLE, 437: "openat2"},
    "c0000015": {5: "open", 8: _CREAT, 286: "openat", 346: _BY_HANDLE, 437: "openat2"},
    "80000016": {5: "open", 8: _CREAT, 288: "openat", 336: _BY_HANDLE, 437: "openat2"},
}
# The number of the argument that has the flags. creat has none, and the structure of openat2 is not in this record.
_FLAGS = {"open": "a1", _CREAT: None, "openat": "a2", _BY_HANDLE: "a2", "openat2": None}
# include/uapi/asm-generic/fcntl.h. Nobody can read, write or set anything through such a
# descriptor. udev and systemd-tmpfiles look at each node with one.
_O_PATH = 0o10000000
_SYSCALL = re.compile(
    r"arch=(?P<arch>[0-9a-f]+) syscall=(?P<number>\d{1,10})(?: per=\w+)? success=(?P<success>yes|no)"
    r" exit=(?P<exit>-?\d{1,20}) a0=\w+ a1=(?P<a1>[0-9a-f]{1,16}) a2=(?P<a2>[0-9a-f]{1,16})"
    # The expression can match each word in only one way, so a hostile text takes no longer than another text.
    r" (?:(?!pid=)\S+ )*pid=(?P<pid>\d{1,10}) auid=(?P<auid>\d{1,10}) (?:(?!ses=)\S+ )*ses=(?P<ses>\d{1,10})"
    r" comm=(?:\"[^\"]*\"|\S+) exe=(?P<exe>\"[^\"]*\"|\S+)"
    r"(?: subj=\S+.*?)? key=(?:\"[^\"]*\"|[0-9A-F]+|\(null\))(?:\x1d(?P<names>.*))?",
    re.ASCII,
)
_PATH = re.compile(
    r"item=\d+ name=(?P<name>\"[^\"]*\"|[0-9A-F]+|\(null\)) (?:(?!mode=)\S+ )*mode=02\d{4} (?:(?!rdev=)\S+ )*"
    # With SELinux the node's label is in between. Enterprise Linux 7 writes objtype.
    r"rdev=(?P<major>[0-9a-f]{1,8}):(?P<minor>[0-9a-f]{1,8})(?: (?:obj|osid)=\S+)? (?:name|obj)type=",
    re.ASCII,
)
_SYSCALL_NAME = re.compile(r"\bSYSCALL=(\w+)", re.ASCII)
_MACVTAP = re.compile(
    r"(?:.*/)?tap\d+|/proc/(?:self|thread-self|\d+)(?:/task/\d+)?/fd/\d+", re.ASCII
)
_VDPA = re.compile(r"(?:.*/)?vhost-vdpa-\d+", re.ASCII)
# Documentation/admin-guide/devices.txt: the range of dynamic major numbers, from which macvtap and
# vhost-vdpa get one each, and two misc devices.
_DYNAMIC = {*range(234, 255), *range(384, 512)}
_MISC: dict[tuple[int, int], Kind] = {(10, 200): "tap", (10, 238): "vhost"}
# The names of drivers in /proc/devices (drivers/net/macvtap.c, drivers/vhost/vdpa.c).
DRIVERS: t.Mapping[str, Kind] = {"macvtap": "macvtap", "vhost-vdpa": "vdpa"}


@dataclasses.dataclass(frozen=True)
class KernelOpen:
    """An open(2) of a network device in the kernel's own record or, with ``tunsetiff``, a TUNSETIFF ioctl.

    ``path`` is the path that the opener gave, or ``None`` for an ioctl. ``fd`` is ``None`` if the call failed.
    """

    event: str
    time: float
    node: str | None
    kind: Kind
    path: str | None
    rdev: str | None
    fd: int | None
    pid: int
    auid: int | None
    ses: int | None
    exe: str | None
    tunsetiff: bool = False


class Majors(t.NamedTuple):
    """The major numbers of a host's macvtap and vhost-vdpa nodes ``since`` it booted (seconds since the epoch)."""

    kinds: t.Mapping[int, Kind]
    since: float


def parse_path(
    text: str, head: re.Match[str], before: bytes, majors: Majors | None
) -> KernelOpen | None:
    """Read a PATH record. Its SYSCALL record is in ``before``."""
    match = _PATH.match(text, head.end())
    if match is None:
        return None
    major, minor = int(match["major"], 16), int(match["minor"], 16)
    name = _unquote(match["name"])
    kind = _MISC.get((major, minor)) or _dynamic_kind(
        major, name, float(head["time"]), majors
    )
    if kind is None:
        return None
    call = _syscall_of(head["event"], before)
    if call is None or not _is_open(call):
        return None
    return _event(call, head, kind, path=name, rdev=f"{major:02X}:{minor:02X}")


def _dynamic_kind(
    major: int, name: str | None, time: float, known: Majors | None
) -> Kind | None:
    """Recognise a device by its major number if that is known, and else by its name."""
    if known is not None and major in known.kinds and time >= known.since:
        return known.kinds[major]
    if not name or major not in _DYNAMIC:
        return None
    return kind_of_path(name)


def kind_of_path(path: str) -> Kind | None:
    """Return the kind of node with a dynamic device number that a path usually names, or ``None`` for another path."""
    if _VDPA.fullmatch(path):
        return "vdpa"
    return "macvtap" if _MACVTAP.fullmatch(path) else None


def parse_tunsetiff(text: str, head: re.Match[str]) -> KernelOpen | None:
    """Read the SYSCALL record of a TUNSETIFF that made a process the holder of a tap."""
    match = _SYSCALL.fullmatch(text, head.end())
    if match is None or match["success"] != "yes" or match["a1"] != "400454ca":
        return None
    if _is_open(match):
        return None
    return _event(match, head, "tap", path=None, rdev=None, tunsetiff=True)


def _event(
    call: re.Match[str],
    head: re.Match[str],
    kind: Kind,
    path: str | None,
    rdev: str | None,
    tunsetiff: bool = False,
) -> KernelOpen:
    opened = call["success"] == "yes" and not tunsetiff
    return KernelOpen(
        event=head["event"],
        time=float(head["time"]),
        node=head["node"],
        kind=kind,
        path=path,
        rdev=rdev,
        fd=int(call["exit"]) if opened else None,
        pid=int(call["pid"]),
        auid=known_id(call["auid"]),
        ses=known_id(call["ses"]),
        exe=_unquote(call["exe"]),
        tunsetiff=tunsetiff,
    )


def _syscall_of(event: str, before: bytes) -> re.Match[str] | None:
    start = before.rfind(f"type=SYSCALL msg=audit({event}): ".encode("ascii"))
    if start < 0:
        return None
    end = before.find(b"\n", start)
    whole = before[start : end if end >= 0 else len(before)]
    line = whole.decode("utf-8", "surrogateescape").rstrip("\r")
    return _SYSCALL.fullmatch(line, line.index("): ") + 3)


def _is_open(call: re.Match[str]) -> bool:
    """Tell whether a system call opens the node behind its path, and not only the path."""
    named = _SYSCALL_NAME.search(call["names"] or "")
    numbers = _OPENS.get(call["arch"])
    if named is not None:
        name: str | None = named.group(1)
    elif numbers is not None:
        name = numbers.get(int(call["number"]))
    else:
        # For an unknown architecture, assume that every call that returns a descriptor or fails
        # does.
        return int(call["exit"]) != 0
    if name not in _FLAGS:
        return False
    flags = _FLAGS[name]
    return flags is None or not int(call[flags], 16) & _O_PATH


def _unquote(value: str) -> str | None:
    if value.startswith('"'):
        return value[1:-1]
    if re.fullmatch(r"(?:[0-9A-F]{2})+", value):
        return bytes.fromhex(value).decode("utf-8", "surrogateescape")
    return None
