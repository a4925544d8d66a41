# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process a VM is: the noted process, the process behind a monitor, or no living process."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    MonitorError,
    OptionError,
    ProcessError,
    UnreachableError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._qemu.monitor import (
    Monitor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import find, identity
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.find import find_vm
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.vm import Vm
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    UUID,
    a_note,
    a_target,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    a_program,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import a_base, a_vm
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu


def looked_at(tmp_path: Path) -> t.ContextManager[Vm]:
    """Look at a VM whose monitor no process serves."""
    target = a_target(qmp_socket=str(tmp_path / "gone.sock"))
    return find_vm(target, True, [])


@pytest.fixture(name="only")
def fixture_only(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Let only these processes run."""

    def only(*processes: Process) -> None:
        monkeypatch.setattr(identity, "all_processes", lambda: processes)

    return only


def test_a_vm_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, only: t.Any
) -> None:
    a_base(tmp_path, monkeypatch)
    words = ("-name", "db01", "-uuid", "x")
    only(
        process_of(start(*words, program=a_program(tmp_path / "kvm"))),
        process_of(start("-name", "web01", name="/usr/bin/qemu-system-x86_64")),
    )
    with looked_at(tmp_path) as looked:
        assert not looked.running
        # An attach would have no VM.
        with pytest.raises(UnreachableError, match="there is no QMP socket"):
            looked.require_reached()


@pytest.mark.parametrize(
    "words",
    [
        ("-name", "web01", "-uuid", "x"),
        ("-name", "guest=web01,debug-threads=on"),
        ("-name", "db01", "-uuid", UUID.upper()),
        ("-name", "guest=web01,,a,uuid=x", "-smbios", f"type=1,uuid={UUID}"),
        ("-uuid", "x"),
    ],
)
def test_a_process_that_may_be_the_vm_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Start,
    only: t.Any,
    words: tuple[str, ...],
) -> None:
    a_base(tmp_path, monkeypatch)
    only(process_of(start(*words, program=a_program(tmp_path / "qemu-kvm"))))
    with pytest.raises(UnreachableError), looked_at(tmp_path):
        pass


def test_the_noted_process_lives_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start, only: t.Any
) -> None:
    a_base(tmp_path, monkeypatch)
    process = process_of(start())
    a_vm(pid=process.pid, start_time=process.start_time)
    only()
    with pytest.raises(UnreachableError), looked_at(tmp_path):
        pass


class Served:
    """A monitor that a process serves. ``threads`` are the threads of the VM's CPUs behind it."""

    path = "/run/m.sock"

    def __init__(self, pid: int, uid: int = 0, threads: t.Any = None) -> None:
        self._peer, self.threads = (pid, uid), threads
        self.commands: list[str] = []

    def peer(self) -> tuple[int, int]:
        return self._peer

    def execute(self, command: str) -> t.Any:
        self.commands.append(command)
        if isinstance(self.threads, list):
            return [{"thread-id": thread} for thread in self.threads]
        return {}

    @property
    def monitor(self) -> Monitor:
        return t.cast(Monitor, self)


def test_the_peer_of_a_monitor(start: Start, tmp_path: Path) -> None:
    qemu = process_of(start(program=a_program(tmp_path / "kvm")))
    for uid in (0, 107):
        served = Served(qemu.pid, uid)
        assert identity.behind(served.monitor, None) == qemu
        assert served.commands == []


def test_the_noted_process_may_run_any_program(start: Start) -> None:
    process = process_of(start(name="qemu-system-x86_64"))
    note = a_note(pid=process.pid, start_time=process.start_time)
    served = Served(process.pid, 1000)
    assert identity.behind(served.monitor, note) == process
    with pytest.raises(ProcessError, match=r"of user id 1000 serves .* is not a qemu"):
        identity.behind(served.monitor, None)


def test_behind_a_relay_of_root(start: Start, tmp_path: Path) -> None:
    relay = start()
    qemu = process_of(start(program=a_program(tmp_path / "kvm")))
    other = process_of(start(program=tmp_path / "kvm"))
    assert identity.behind(Served(relay.pid, 0, [qemu.pid]).monitor, None) == qemu
    wrong: list[t.Any] = [{}, [], [relay.pid], [2**22], [qemu.pid, other.pid]]
    for threads in wrong:
        with pytest.raises(ProcessError, match="is not a qemu and leads to none"):
            identity.behind(Served(relay.pid, 0, threads).monitor, None)


def test_the_answers_of_a_stranger_are_ignored(start: Start) -> None:
    served = Served(start(name="qemu-system-x86_64").pid, 65534)
    with pytest.raises(ProcessError, match=r"of user id 65534 serves .* is not a qemu"):
        identity.reported(served.monitor)
    assert served.commands == []


def test_the_monitor_of_another_process_than_the_noted_one(start: Start) -> None:
    child = start()
    ours, other = process_of(child), process_of(start())
    note = a_note(pid=ours.pid, start_time=ours.start_time)
    identity.require_noted("/m", ours, note)
    identity.require_noted("/m", other, None)
    with pytest.raises(OptionError) as caught:
        identity.require_noted("/m", other, note)
    assert f"pid {ours.pid} " in str(caught.value)
    assert f"pid {other.pid} " in str(caught.value)
    child.kill()
    child.wait()
    # The earlier process ended by itself.
    identity.require_noted("/m", other, note)


def test_the_monitor_of_a_process_that_is_noted_as_another_vm(start: Start) -> None:
    process, other = process_of(start()), process_of(start())
    mine = a_note(pid=process.pid, start_time=process.start_time)
    theirs = a_note(name="web02", uuid=OTHER, pid=other.pid, start_time=1)
    identity.refuse_noted_elsewhere("/m", process, mine, lambda: pytest.fail("read"))
    # The noted process of the other VM has ended, and a later process has its pid.
    identity.refuse_noted_elsewhere("/m", other, mine, lambda: [theirs])
    theirs.start_time = other.start_time
    for note in (None, mine):
        with pytest.raises(OptionError, match=f"VM web02 with the UUID {OTHER}"):
            identity.refuse_noted_elsewhere("/m", other, note, lambda: [theirs])


def test_a_started_qemu_is_the_vm_of_the_task() -> None:
    qemu = FakeQemu()
    said: dict[str, t.Any] = {"uuid": UUID.upper(), "name": "web01"}
    qemu.answers["query-uuid"] = lambda given: {"UUID": said["uuid"]}
    qemu.answers["query-name"] = lambda given: (
        {} if said["name"] is None else {"name": said["name"]}
    )
    identity.require_started(qemu.monitor, qemu.process, "web01", UUID)
    for name, uuid in (("web01", OTHER), ("web02", UUID), (None, UUID)):
        said.update(uuid=uuid, name=name)
        with pytest.raises(ProcessError, match="task ended the VM before its guest"):
            identity.require_started(qemu.monitor, qemu.process, "web01", UUID)


OTHER = "c1e2f3a4-0001-4000-8000-000000000012"


def test_a_namesake_is_not_started_beside_one_that_runs(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start()
    process = process_of(child)
    note = a_note(uuid=OTHER, pid=process.pid, start_time=process.start_time)
    identity.refuse_namesake("web02", UUID, [note], 0)
    with pytest.raises(OptionError, match=f"UUID {OTHER} .pid {process.pid}."):
        identity.refuse_namesake("web01", UUID, [note], 0)
    child.kill()
    child.wait()
    identity.refuse_namesake("web01", UUID, [note], 0)
    by_hand = start("-name", "guest=web01", program=a_program(tmp_path / "kvm"))
    with pytest.raises(OptionError, match=f"no UUID of its own .pid {by_hand.pid}."):
        identity.refuse_namesake("web01", UUID, [], os.getuid())


def test_a_start_that_was_cut_off_is_no_namesake_of_itself(
    start: Start, tmp_path: Path
) -> None:
    words = ("-name", "guest=web01", "-uuid", UUID)
    start(*words, program=a_program(tmp_path / "kvm"))
    with pytest.raises(OptionError, match=f"UUID {UUID}"):
        identity.refuse_namesake("web01", UUID, [], os.getuid())
    identity.refuse_namesake("web01", UUID, [], os.getuid(), ends=True)
    with pytest.raises(OptionError, match=f"UUID {UUID}"):
        identity.refuse_namesake("web01", OTHER, [], os.getuid(), ends=True)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("-name", "guest=web01"), "name"),
        (("-uuid", UUID), "UUID"),
        (("-uuid", UUID, "-name", "web01"), "UUID"),
        (("-name", "web02"), None),
    ],
)
def test_a_qemu_of_another_user_gives_a_warning(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    what: str | None,
) -> None:
    process = process_of(start(*words, program=a_program(tmp_path / "kvm")))
    monkeypatch.setattr(identity, "all_processes", lambda: [process])
    assert identity.strangers(a_target(), UUID, None) == []
    monkeypatch.setattr(Process, "uid", lambda self: 65534)
    said = identity.strangers(a_target(), UUID, None)
    assert len(said) == (what is not None)
    for text in said:
        assert f"user id 65534 (pid {process.pid}) has the {what} of VM web01" in text
    # The user with which qemu was started, or will be started.
    assert identity.strangers(a_target(), UUID, a_note(uid=65534)) == []
    assert identity.strangers(a_target(user="nobody"), UUID, None) == []


OTHER = "c1e2f3a4-0001-4000-8000-000000000099"
TRUE: dict[str, str | None] = {"name": "web01", "uuid": UUID}
# What the qemu says, whether the host has noted the process, under which name, and the error.
CLAIMS: list[tuple[dict[str, str | None], bool, str, type[Exception] | None]] = [
    (TRUE, True, "web01", None),
    (TRUE, False, "web01", None),
    ({"name": None, "uuid": None}, True, "web01", None),
    # A qemu that its guest has taken over.
    ({"name": "db01", "uuid": UUID}, True, "web01", MonitorError),
    ({"name": "web01", "uuid": OTHER}, True, "web01", MonitorError),
    # The task names another VM.
    ({"name": "db01", "uuid": UUID}, True, "db01", OptionError),
    ({"name": "db01", "uuid": UUID}, False, "web01", OptionError),
    ({"name": "web01", "uuid": OTHER}, False, "web01", OptionError),
]


@pytest.mark.parametrize(("said", "noted", "name", "error"), CLAIMS)
def test_what_a_qemu_says_it_is(
    said: dict[str, str | None],
    noted: bool,
    name: str,
    error: type[Exception] | None,
) -> None:
    me = Process.of(os.getpid())
    assert me is not None
    start_time = me.start_time if noted else 1
    note = a_note(name=name, pid=me.pid, start_time=start_time)
    if error is None:
        identity.require_same(said, me, "web01", UUID, note)
        return
    with pytest.raises(error):
        identity.require_same(said, me, "web01", UUID, note)


def test_a_noted_qemu_that_lies_about_its_uuid_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_base(tmp_path, monkeypatch)
    me = Process.of(os.getpid())
    assert me is not None
    a_vm(pid=me.pid, start_time=me.start_time)
    lies: dict[str, str | None] = {"name": "web01", "uuid": OTHER}
    monkeypatch.setattr(find, "_ask", lambda path, timeout: (lies, me))
    target = a_target(qmp_socket="/run/m.sock")
    assert find._choose_uuid(target, True) == (UUID, None)
    with pytest.raises(OptionError, match="the running VM has the name"):
        find._choose_uuid(target._replace(name="web02"), True)


@pytest.mark.parametrize("user", ["no\0body", "no\ud800body", "", "no such user"])
def test_a_user_that_cannot_be_is_refused_later(user: str) -> None:
    assert identity._uids_named(user) == []
