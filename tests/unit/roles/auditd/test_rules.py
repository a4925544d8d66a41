# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.virtaudit.qemu.tests.unit.support.rules import render_rules


@pytest.mark.parametrize(
    ("machine", "arches"),
    [("x86_64", {"b64", "b32"}), ("aarch64", {"b64", "b32"}), ("ppc64le", {"b64"})],
)
def test_each_device_is_watched_for_each_arch(machine: str, arches: set[str]) -> None:
    rules = render_rules(machine, "/usr/bin/qemu-a /usr/bin/qemu-b", macvtap=246).split(
        "\n"
    )
    rules = [rule for rule in rules if rule.startswith("-")]
    watched = {
        "-F path=/dev/net/tun -F perm=rw -F key=virtaudit-tun",
        "-F path=/dev/vhost-net -F perm=rw -F key=virtaudit-vhost-net",
        "-F devmajor=246 -F key=virtaudit-macvtap",
        "-S ioctl -F a1=0x400454ca -F key=virtaudit-tunsetiff",
        "-F path=/usr/bin/qemu-a -F perm=x -F key=virtaudit-qemu",
        "-F path=/usr/bin/qemu-b -F perm=x -F key=virtaudit-qemu",
        "-F dir=/etc/audit -F perm=wa -F key=virtaudit-config",
        "-F dir=/run/virtaudit -F perm=wa -F key=virtaudit-state",
    }
    for arch in arches:
        begin = f"-a always,exit -F arch={arch} "
        of_arch = [rule for rule in rules if rule.startswith(begin)]
        for rule in watched:
            assert sum(each.endswith(rule) for each in of_arch) == 1, (arch, rule)
        # Three more rules are for the ways to take a descriptor from another process.
        assert len(of_arch) == len(watched) + 3
    assert len(rules) == len(arches) * (len(watched) + 3)
