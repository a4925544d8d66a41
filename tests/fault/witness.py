# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks other tools about a VM: ausearch, ip, nft, /proc. It shares no code with the collection."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections import Counter

from ansible_collections.virtaudit.qemu.tests.fault import networks

STATE = "/run/virtaudit"
_LINE = re.compile(
    r"^(?:node=\S+ )?type=(\S+) msg=audit\(([^)]+)\): [^']*msg='([^']*)'"
)
_FLUSH_SECONDS = 0.05
# All questions are about records that are newer than this process, so ausearch need not read older
# logs.
_BEGUN = time.localtime(time.time() - 5)
_MONITOR_SECONDS = 5.0

Fields = dict[str, str]


def records(uuid: str) -> list[Fields]:
    """Return the VM's records that ausearch finds, each with its ``type`` and ``event``."""
    # The daemon writes a moment after the kernel has numbered a record.
    time.sleep(_FLUSH_SECONDS)
    command = ["ausearch", "--input-logs", "--uuid", uuid, "--raw", "--start"]
    command += [time.strftime("%m/%d/%y", _BEGUN), time.strftime("%H:%M:%S", _BEGUN)]
    # ausearch reads the date in this form only in this locale.
    found = subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    result = []
    for line in found.split("\n"):
        match = _LINE.match(line)
        if match is not None:
            words = (word.partition("=") for word in match[3].split())
            fields = {key: value.strip('"') for key, _equals, value in words}
            result.append({**fields, "type": match[1], "event": match[2]})
    return result


def qemus(uuid: str) -> list[int]:
    """Return the pids of the VM's living qemus."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(
                f"/proc/{name}/cmdline", encoding="utf-8", errors="replace"
            ) as handle:
                words = handle.read().split("\0")
        except OSError:
            continue
        if "qemu" in words[0] and uuid in words:
            found.append(int(name))
    return found


def lives(pid: int) -> bool:
    """Tell whether a process lives. A zombie without other threads has given up everything that it held."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
            zombie = handle.read().rpartition(")")[2].split()[0] == "Z"
        return not zombie or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def going(uuid: str) -> list[int]:
    """Return the pids of the VM's living qemus, if the qemu behind its monitor says that its guest runs."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(_MONITOR_SECONDS)
        try:
            monitor.connect(f"{STATE}/{uuid}/qmp.sock")
            with monitor.makefile("rw", encoding="utf-8") as lines:
                lines.readline()
                for command in ("qmp_capabilities", "query-status"):
                    lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                for line in lines:
                    answer = json.loads(line).get("return", {})
                    if "running" in answer:
                        return qemus(uuid) if answer["running"] else []
        except OSError:
            # qemu has ended, or serves another client.
            pass
    return []


def held(pid: int) -> dict[int, str]:
    """Return the nodes of the network devices that a process holds, by fd number."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            # While a guest runs, qemu opens and closes other files.
            continue
        if target in ("/dev/net/tun", "/dev/vhost-net") or re.fullmatch(
            r"/dev/tap\d+", target
        ):
            found[int(name)] = target
    return found


def links(macs: list[str]) -> set[str]:
    """The collection names links after MACs. Return which of the links for these MACs exist."""
    output = subprocess.run(
        ["ip", "-j", "link"], capture_output=True, text=True, check=True
    ).stdout
    wanted = {f"vt{mac.replace(':', '')}" for mac in macs}
    return {link["ifname"] for link in json.loads(output)} & wanted


def address(name: str) -> str:
    """Return the MAC of a link."""
    output = subprocess.run(
        ["ip", "-j", "link", "show", name], capture_output=True, text=True, check=True
    ).stdout
    return str(json.loads(output)[0]["address"])


def violations(
    uuid: str, macs: list[str], granted: list[str], running: bool
) -> list[str]:
    """Return the ways in which the host and the trail break the invariants.

    The VM should hold the ``granted`` MACs now.
    """
    found = []
    pids = qemus(uuid)
    if len(pids) != int(running):
        return [f"{len(pids)} qemus run, {int(running)} should"]
    have = held(pids[0]) if pids else {}
    trail = records(uuid)
    found += _balance(trail, have)
    found += _grants(trail, granted, have)
    found += networks.violations(trail)
    if links(macs) != links(granted) or len(links(granted)) != len(granted):
        found.append(f"links {sorted(links(macs))}, should be those of {granted}")
    if not running and os.path.exists(f"{STATE}/{uuid}"):
        found.append(f"{STATE}/{uuid} is left")
    return found


def _balance(trail: list[Fields], have: dict[int, str]) -> list[str]:
    """Check that every successful open was closed once, or is held now."""
    opened = Counter(
        each["path"]
        for each in trail
        if (each.get("reason"), each["res"]) == ("open", "success")
    )
    closed = Counter(each["path"] for each in trail if each.get("reason") == "close")
    now = Counter(have.values())
    paths = sorted({*opened, *closed, *now})
    return [
        f"{path}: {opened[path]} opens, {closed[path]} closes, {now[path]} held"
        for path in paths
        if opened[path] != closed[path] + now[path]
    ]


def _grants(trail: list[Fields], granted: list[str], have: dict[int, str]) -> list[str]:
    """Check that every hand-over has one record with the fds that qemu holds.

    Check also that every hand-over that has ended has its detach.
    """
    state: dict[str, list[int]] = {}
    found = []
    for each in trail:
        if each.get("reason") in ("start", "attach") and each["res"] == "success":
            if each["new-net"] in state:
                found.append(f"{each['new-net']} is granted twice")
            numbers = each["fds"].split(",")
            if not all(map(str.isdigit, numbers)):
                found.append(f"{each['new-net']} is granted with the fds {numbers}")
            state[each["new-net"]] = [int(fd) for fd in numbers if fd.isdigit()]
        elif each.get("reason") == "detach" and each["res"] == "success":
            known = state.pop(each["old-net"], None)
            found += (
                []
                if known is not None
                else [f"{each['old-net']} is detached and was not granted"]
            )
    if sorted(state) != sorted(granted):
        found.append(
            f"granted by the trail: {sorted(state)}, should be {sorted(granted)}"
        )
    fds = sorted(fd for numbers in state.values() for fd in numbers)
    if fds != sorted(have):
        found.append(f"fds by the trail: {fds}, in /proc: {sorted(have)}")
    return found
