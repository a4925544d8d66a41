# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vm_net_detach with stop_vm ends a VM whose monitor does not answer."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.auditor import (
    Auditor,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import (
    AuditError,
    LinkError,
    MonitorError,
    OptionError,
    ProcessError,
    StopError,
    StuckError,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._flow import detach
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import known, recent
from ansible_collections.virtaudit.qemu.plugins.module_utils._proc import Process
from ansible_collections.virtaudit.qemu.plugins.module_utils._repair import repair
from ansible_collections.virtaudit.qemu.plugins.module_utils._task.result import (
    Report,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import find, vm
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.nic import Nic
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    tun,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.children import (
    Start,
    process_of,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.host import (
    a_base,
    a_kernel,
    a_live,
    a_vm,
    told,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.kernel import Kernel
from ansible_collections.virtaudit.qemu.tests.unit.support.qemu import FakeQemu

OTHER = "52:54:00:00:00:02"


class Stoppable(FakeQemu):
    """A monitor that ends a process when it gets ``quit``."""

    def __init__(self, ends: Process) -> None:
        super().__init__()
        self.answers["quit"] = lambda _given: ends.kill()


class Case(t.NamedTuple):
    """A VM whose process is a child of the test, and whose monitor is silent."""

    child: subprocess.Popen[bytes]
    process: Process
    kernel: Kernel

    def run(self, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        params = {
            "name": "web01",
            "uuid": UUID,
            "qmp_socket": None,
            "macs": ["all"],
            "force": False,
            "stop_vm": "destroy",
            "audit": "required",
            "timeout": 1,
            **options,
        }
        with Auditor(params["audit"]) as auditor:
            report = Report(auditor)
            detach.run(params, check_mode, report)
            return report.result()


@pytest.fixture(name="case")
def fixture_case(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    def silent(path: str, _timeout: float) -> None:
        raise MonitorError(f"qemu did not greet on {path}")

    monkeypatch.setattr(recent, "records_of", lambda uuid, since: [])
    monkeypatch.setattr(known, "look_up", lambda *_given: known.Known())
    monkeypatch.setattr(vm, "_ENDING_SECONDS", 0.01)
    monkeypatch.setattr(vm, "Monitor", silent)
    monkeypatch.setattr(find, "Monitor", silent)
    a_base(tmp_path, monkeypatch)
    child = start()
    process = process_of(child)
    a_vm(pid=process.pid, start_time=process.start_time)
    return Case(child, process, a_kernel(monkeypatch))


@pytest.mark.parametrize("given", [None, "/run/virtaudit/u/qmp.sock"])
def test_the_noted_process_is_ended(case: Case, given: str | None) -> None:
    options: dict[str, t.Any] = {"macs": [MAC, OTHER], "qmp_socket": given}
    said = case.run(check_mode=True, **options)
    assert case.process.is_alive()
    assert case.kernel.texts == []
    done = case.run(**options)
    assert not case.process.is_alive()
    assert case.child.wait() == -9
    assert told(case.kernel) == ["stop destroyed", "detach", "close"]
    assert f" vm-pid={case.process.pid} " in case.kernel.texts[0]
    assert VmState(UUID).load() is None
    actions = [(each["mac"], each["action"]) for each in done["interfaces"]]
    assert actions == [(MAC, "detached"), (OTHER, "absent")]
    for key in ("changed", "interfaces", "diff", "warnings"):
        assert said[key] == done[key], key
    (warning,) = done["warnings"]
    assert warning.startswith("qemu did not greet on /run/virtaudit/u/qmp.sock. stop")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"stop_vm": "shutdown"}, MonitorError),
        ({"stop_vm": "never", "force": True}, MonitorError),
        # This may be the monitor of another VM.
        ({"qmp_socket": "/run/other.sock"}, MonitorError),
        # The task gives the UUID of the noted VM and another name.
        ({"name": "web02"}, OptionError),
    ],
)
def test_nothing_else_ends_a_process(
    case: Case, options: dict[str, t.Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        case.run(**options)
    assert case.process.is_alive()
    assert case.kernel.texts == []


def test_a_noted_process_that_has_ended_is_not_destroyed(case: Case) -> None:
    """Another VM serves the monitor, and does not answer either."""
    case.child.kill()
    case.child.wait()
    with pytest.raises(MonitorError):
        case.run(qmp_socket="/run/virtaudit/u/qmp.sock")
    assert case.kernel.texts == []


def test_a_process_that_does_not_end(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "end", lambda process: False)
    with pytest.raises(StopError, match="keeps its network; the kernel does not end"):
        case.run()
    assert [text.rpartition("=")[2] for text in case.kernel.texts] == ["failed"]
    left = VmState(UUID).load()
    assert left is not None
    assert left.interfaces[MAC].phase == "held"


@pytest.mark.parametrize("stop_vm", ["destroy", "shutdown"])
@pytest.mark.parametrize(
    "failure",
    [
        StuckError("the attach cannot be taken back"),
        LinkError("the database does not answer"),
        ProcessError("it has another device"),
        AuditError("nobody writes a record"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_earlier_work_that_qemu_does_not_let_finish_does_not_keep_a_vm_alive(
    case: Case, monkeypatch: pytest.MonkeyPatch, stop_vm: str, failure: Exception
) -> None:
    def take_back(*_given: t.Any) -> None:
        raise failure

    def look(found: vm.Vm) -> None:
        nic = Nic(MAC, None, "hostnet", [tun(31)], None)
        found._live = a_live(Stoppable(case.process), case.process, nic)

    note = VmState(UUID).load()
    assert note is not None
    note.busy, note.interfaces[MAC].phase = 100.0, "opening"
    VmState(UUID).save(note)
    monkeypatch.setattr(repair, "_take_back", take_back)
    monkeypatch.setattr(vm.Vm, "look", look)
    if stop_vm == "shutdown" or isinstance(failure, AuditError):
        with pytest.raises(type(failure)):
            case.run(stop_vm=stop_vm)
        assert case.process.is_alive()
        return
    read: list[float] = []

    def records_of(_uuid: str, since: float) -> list[t.Any]:
        read.append(since)
        return []

    monkeypatch.setattr(recent, "records_of", records_of)
    done = case.run(stop_vm=stop_vm)
    assert not case.process.is_alive()
    assert told(case.kernel) == ["stop destroyed", "attach", "close"]
    assert VmState(UUID).load() is None
    # Only the log tells which part of the earlier work is on record.
    assert len(read) == 2
    (warning,) = done["warnings"]
    assert warning.startswith(f"{failure}. stop_vm: destroy ends VM web01 nevertheless")


@pytest.mark.parametrize("again", ["silent", "answers", "ended"])
def test_a_qemu_that_answers_only_until_earlier_work_is_finished_is_ended(
    case: Case, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """After that work the task looks at the VM again. A qemu that its guest has taken over can be silent then."""
    looks: list[str] = []

    def look(found: vm.Vm) -> None:
        found._live = None
        looks.append(again)
        if len(looks) == 2 or (len(looks) == 3 and again != "answers"):
            if again == "ended":
                case.child.kill()
                case.child.wait()
            raise MonitorError("qemu did not answer")
        nic = Nic(MAC, None, "hostnet", [tun(31)], None)
        qemu = Stoppable(case.process)
        qemu.answers["cont"] = lambda _given: None
        found._live = a_live(qemu, case.process, nic)

    note = VmState(UUID).load()
    assert note is not None
    note.busy, note.frozen = 100.0, True
    VmState(UUID).save(note)
    monkeypatch.setattr(vm.Vm, "look", look)
    if again == "ended":
        with pytest.raises(MonitorError):
            case.run()
        assert case.kernel.texts == []
        return
    done = case.run()
    assert not case.process.is_alive()
    assert told(case.kernel) == ["stop destroyed", "detach", "close"]
    assert VmState(UUID).load() is None
    assert [each["action"] for each in done["interfaces"]] == ["detached"]
    assert all("qemu did not answer. stop" in each for each in done["warnings"][1:])


@pytest.mark.parametrize("stop_vm", ["destroy", "shutdown"])
def test_a_switch_that_does_not_answer_does_not_keep_a_vm_alive(
    case: Case, monkeypatch: pytest.MonkeyPatch, stop_vm: str
) -> None:
    """The note has all that the end of the VM needs, so nobody asks the switch before."""

    def look(found: vm.Vm) -> None:
        assert found.note is not None
        nic = Nic(MAC, None, "hostnet", [tun(31)], found.note.interfaces[MAC])
        found._live = a_live(Stoppable(case.process), case.process, nic)
        found._live.monitor.answers["system_powerdown"] = (  # type: ignore[attr-defined]
            lambda _given: case.process.kill()
        )

    def refuse(_nic: Nic) -> t.NoReturn:
        raise LinkError("Open vSwitch's database does not answer")

    monkeypatch.setattr(vm.Vm, "look", look)
    monkeypatch.setattr(Nic, "as_note", refuse)
    done = case.run(stop_vm=stop_vm)
    assert not case.process.is_alive()
    assert [each["action"] for each in done["interfaces"]] == ["detached"]
