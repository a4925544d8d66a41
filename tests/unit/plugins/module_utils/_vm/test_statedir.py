# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given

from ansible_collections.virtaudit.qemu.plugins.module_utils._errors import StateError
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm import statedir
from ansible_collections.virtaudit.qemu.plugins.module_utils._vm.statedir import VmState
from ansible_collections.virtaudit.qemu.tests.unit.support.builders import (
    MAC,
    UUID,
    a_nic_note,
    a_note,
    tun,
    vhost,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.limits import (
    no_descriptor_left,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.strategies import (
    outside_text,
)

NOTE = a_note(
    pid=4711,
    start_time=99,
    unit="virtaudit-x.scope",
    interfaces={MAC: a_nic_note(pending=True, ifindex=7, devices=[tun(31), vhost(32)])},
)


@pytest.fixture(name="base")
def fixture_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "virtaudit"
    monkeypatch.setattr(statedir, "BASE", str(base))
    statedir.prepare_base()
    return base


@pytest.fixture(name="state")
def fixture_state(base: Path) -> VmState:
    (base / UUID).mkdir()
    return VmState(UUID)


def test_round_trip(state: VmState) -> None:
    assert state.load() is None
    assert not state.has_unreadable()
    state.save(NOTE)
    assert state.load() == NOTE
    assert not state.has_unreadable()
    assert os.listdir(state.path) == ["state.json"]
    assert Path(state.path, "state.json").stat().st_mode & 0o777 == 0o600
    assert json.loads(Path(state.path, "state.json").read_text())["version"] == 1


def test_a_note_that_cannot_be_opened_now_is_not_a_bad_one(state: VmState) -> None:
    state.save(NOTE)
    for look in (state.load, state.has_unreadable, lambda: statedir.other_notes("x")):
        with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
            look()
    assert state.load() == NOTE


@given(name=outside_text)
def test_any_name_is_read_back(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = VmState(UUID)
    state.path = str(tmp_path_factory.mktemp("vm"))
    note = a_note(name=name)
    state.save(note)
    assert state.load() == note


def test_pid_file(state: VmState) -> None:
    state.write_pid_file(4711)
    state.write_pid_file(4712)
    assert os.listdir(state.path) == ["qemu.pid"]
    assert Path(state.path, "qemu.pid").read_text() == "4712\n"
    os.mkdir(f"{state.path}/qemu.pid.new")
    with pytest.raises(StateError, match=r"qemu\.pid could not be written"):
        state.write_pid_file(4713)


@pytest.mark.parametrize("call", ["fdopen", "fsync", "rename"])
def test_a_crash_leaves_the_old_note_whole(
    state: VmState, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    state.save(NOTE)

    def crash(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, call, crash)
        with pytest.raises(KeyboardInterrupt):
            state.save(a_note(name="other"))
    assert state.load() == NOTE
    state.save(a_note(name="other"))
    assert state.load() == a_note(name="other")


def test_the_note_is_on_disk_before_it_takes_its_place(
    state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(fd: int) -> None:
        calls.append("fsync")
        fsync(fd)

    def noting_rename(old: str, new: str) -> None:
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    state.save(a_note())
    assert calls == ["fsync", "rename"]


def test_a_note_that_does_not_fit(state: VmState) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StateError, match=r"state\.json could not be written: File"):
            state.save(NOTE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_note_is_not_written_through_a_link(state: VmState, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(state.path, "state.json.new").symlink_to(victim)
    with pytest.raises(StateError):
        state.save(NOTE)
    assert victim.read_text() == "precious"


def test_remove(state: VmState, base: Path) -> None:
    with state.locked(1):
        state.save(NOTE)
        Path(state.qmp_socket).touch()
        state.remove()
        state.remove()
    assert list(base.iterdir()) == []
    state.remove()


def test_the_note_is_removed_last(
    state: VmState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.save(NOTE)
    state.write_pid_file(4711)
    for name in ("a", "zz", "qmp.sock"):
        Path(state.path, name).touch()
    gone: list[str] = []
    monkeypatch.setattr(os, "unlink", lambda path: gone.append(os.path.basename(path)))
    state.remove()
    assert sorted(gone[:-1]) == ["a", "qemu.pid", "qmp.sock", "zz"]
    assert gone[-1] == "state.json"


def test_a_file_that_cannot_be_removed(state: VmState) -> None:
    os.mkdir(f"{state.path}/directory")
    with pytest.raises(StateError, match="could not be removed"):
        state.remove()


def test_other_notes(base: Path) -> None:
    for number in range(4):
        (base / f"vm{number}").mkdir()
    for uuid, name in (("vm0", "ours"), ("vm2", "second"), ("vm1", "first")):
        VmState(uuid).save(a_note(uuid=uuid, name=name))
    (base / "vm3" / "state.json").write_text("{")
    (base / "stray").touch()
    assert [note.name for note in statedir.other_notes("vm0")] == ["first", "second"]


def test_without_a_base_there_are_no_notes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(statedir, "BASE", str(tmp_path / "absent"))
    assert statedir.other_notes(UUID) == []
    assert VmState(UUID).load() is None


def test_base_is_made_private(base: Path) -> None:
    assert base.stat().st_mode & 0o777 == 0o700
    statedir.prepare_base()


@pytest.mark.parametrize("kind", ["group", "others", "file", "link"])
def test_base_of_somebody_else_is_refused(
    base: Path, tmp_path: Path, kind: str
) -> None:
    if kind in ("group", "others"):
        base.chmod(0o710 if kind == "group" else 0o701)
    else:
        base.rmdir()
        if kind == "file":
            base.touch(0o700)
        else:
            (tmp_path / "real").mkdir(0o700)
            base.symlink_to(tmp_path / "real")
    with pytest.raises(StateError, match="is not a directory of root's with mode 0700"):
        statedir.prepare_base()


def test_base_of_another_user_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: base.stat().st_uid + 1)
    with pytest.raises(StateError, match="is not a directory of root's"):
        statedir.prepare_base()


@pytest.mark.parametrize("audit", ["nonsense", None, 7])
def test_a_damaged_note_does_not_lower_the_audit_mode(
    state: VmState, audit: object
) -> None:
    state.save(a_note(audit="off"))
    path = Path(state.path, "state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "audit": audit}))
    loaded = state.load()
    assert loaded is not None
    assert loaded.audit == "required"
