# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An update in place that fails leaves the link as it was. The records name the old and the new values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.network import (
    Network,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.origin import Origin
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    LinkError,
    QmpError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import update
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow.plan import Step
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._net.nic_link import (
    NicLink,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.nics import FrontEnd
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import nic_network
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.differences import Move
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.note import (
    NicNote,
    Note,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_target,
    an_interface,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_live,
    a_vm,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

FRONT_END = FrontEnd("/machine/peripheral/net", "virtio-net-pci", MAC, "hostnet")
# The NIC was attached without an MTU. SHOWN is the network that the kernel shows, and ASKED the one that
# the task asks for.
SHOWN, ASKED = Network("br0", mtu="1500"), Network("br0", mtu="1400", link="down")


class FakeBackend:
    """The kernel's side of a link. Like a real back end, it does not change the MTU if nobody gives one."""

    def __init__(self) -> None:
        self.network = SHOWN

    def left_of(self, _link: NicLink, _before: NicLink) -> list[str]:
        return []

    def observe(self, _link: NicLink) -> Network:
        return self.network

    def update(self, _link: NicLink, network: Network) -> None:
        mtu = network.mtu or self.network.mtu
        self.network = Network(network.source, link=network.link, mtu=mtu)


def a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Kernel, FakeBackend]:
    """Make a host without notes and records."""
    a_base(tmp_path, monkeypatch)
    backend = FakeBackend()
    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    for module in (update, nic_network):
        monkeypatch.setattr(module, "backend_of", lambda kind: backend)
    return a_kernel(monkeypatch), backend


def this_process() -> Process:
    process = Process.of(os.getpid())
    assert process is not None
    return process


def run(vm: Vm, note: Note, step: Step, refused: bool) -> None:
    """Update a NIC. ``refused`` tells that qemu refuses the update."""
    messages = vm.messages(Origin("/usr/bin/python3", None, None), "kvm")
    with Auditor("required") as auditor:
        if refused:
            with pytest.raises(QmpError):
                update.update(vm, note, step, auditor, messages)
        else:
            update.update(vm, note, step, auditor, messages)


def noted() -> NicNote:
    note = VmState(UUID).load()
    assert note is not None
    return note.interfaces[MAC]


@pytest.mark.parametrize("refused", [True, False])
def test_an_mtu_that_nobody_asked_for_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    kernel, backend = a_host(tmp_path, monkeypatch)
    me = this_process()
    entry = a_nic_note(devices=[tun(31)])
    note = a_vm(pid=me.pid, start_time=me.start_time, interfaces={MAC: entry})
    vm, qemu = Vm(a_target(), UUID, note), FakeQemu()

    def set_link(given: object) -> None:
        if refused and given == {"name": "net", "up": False}:
            raise QmpError("set_link", "GenericError", "no")

    qemu.answers["set_link"] = set_link
    nic = Nic(MAC, FRONT_END, "hostnet", [tun(31)], entry)
    vm._live = a_live(qemu, me, nic)
    step = Step(an_interface(), "update", nic, move=Move(SHOWN, ASKED))
    run(vm, note, step, refused)
    assert backend.network == (SHOWN if refused else ASKED)
    assert 'old-mtu="1500" new-mtu="1400"' in kernel.texts[1]
    assert [text.rpartition("=")[2] for text in kernel.texts] == [
        "failed" if refused else "success"
    ] * 2
    VmState(UUID).save(note)
    assert noted().link.network == (Network("br0") if refused else ASKED)
    assert (noted().updating, noted().observed) == (None, None)


@pytest.mark.parametrize("refused", [True, False])
def test_a_nic_of_another_program_gets_its_carrier_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """The note of the task that took the carrier is gone, because the host forgets such a NIC at the end of a task."""
    kernel, backend = a_host(tmp_path, monkeypatch)
    down, up = Network("br0", vlan="42", link="down"), Network("br0", vlan="42")
    backend.network = down
    monkeypatch.setattr(
        backend, "update", lambda link, network: setattr(backend, "network", network)
    )
    me = this_process()
    note = a_vm(pid=me.pid, start_time=me.start_time, interfaces={})
    vm, qemu = Vm(a_target(), UUID, note), FakeQemu()
    sides: list[object] = []

    def set_link(given: object) -> None:
        sides.append(given)
        if refused and len(sides) == 1:
            raise QmpError("set_link", "GenericError", "no")

    qemu.answers["set_link"] = set_link
    nic = Nic(MAC, FRONT_END, "hostnet", [tun(31, "vnet0")], None)
    nic.source = "br0"
    vm._live = a_live(qemu, me, nic)
    step = Step(an_interface(), "update", nic, move=Move(down, up))
    run(vm, note, step, refused)
    assert sides[0] == {"name": "net", "up": True}
    # The VLAN that the other program has set comes back, too.
    assert backend.network == (down if refused else up)
    assert kernel.texts[0].endswith("failed" if refused else "success")


def test_a_link_that_cannot_be_put_back_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarantine takes the link down first, so it stays down if the switch then does not answer."""
    kernel, backend = a_host(tmp_path, monkeypatch)

    def refuse(_link: NicLink, _network: Network) -> None:
        raise LinkError("Open vSwitch's database does not answer")

    monkeypatch.setattr(backend, "update", refuse)
    me = this_process()
    entry = a_nic_note(devices=[tun(31)])
    note = a_vm(pid=me.pid, start_time=me.start_time, interfaces={MAC: entry})
    vm, qemu = Vm(a_target(), UUID, note), FakeQemu()
    qemu.answers["set_link"] = lambda given: {}
    nic = Nic(MAC, FRONT_END, "hostnet", [tun(31)], entry)
    vm._live = a_live(qemu, me, nic)
    step = Step(an_interface(), "update", nic, move=Move(SHOWN, ASKED))
    messages = vm.messages(Origin("/usr/bin/python3", None, None), "kvm")
    with Auditor("required") as auditor:
        with pytest.raises(LinkError, match="does not answer"):
            update.update(vm, note, step, auditor, messages)
        said = auditor.warnings
    assert said == [
        f"the update of {MAC} failed, and its link could not be put back: Open vSwitch's database does not answer. The "
        "next task tries again"
    ]
    assert entry.updating == ASKED
    assert [text.rpartition("=")[2] for text in kernel.texts] == ["failed"] * 2
