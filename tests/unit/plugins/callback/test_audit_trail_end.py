# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run of the callback ends, what the trail proves then, and who started the run according to the trail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import ansible
import pytest

from ansible_collections.virtaudit.qemu.plugins.callback import audit_trail
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    Checked,
    check_files,
    trail_files,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.heads import (
    check_signature,
)
from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.verify import verify
from ansible_collections.virtaudit.qemu.tests.support.stub.collection import (
    make_collection,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.waiting import wait_until

MODULE = "virtaudit.qemu.vm_net_attach"
PLAYBOOK = [sys.executable, "-m", "ansible.cli.playbook"]
Line = dict[str, t.Any]


class Place:
    """The directory in which a run starts, and the directory of its trail."""

    def __init__(self, path: Path) -> None:
        self.path, self.trail = path, path / "trail"
        make_collection(path)
        self.environment = {
            "PATH": os.environ["PATH"],
            # ansible-test's environment for units has Ansible only on its own path.
            "PYTHONPATH": str(Path(ansible.__file__).parents[1]),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(path / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(path),
            "ANSIBLE_CALLBACKS_ENABLED": "virtaudit.qemu.audit_trail",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "VIRTAUDIT_TRAIL_DIR": str(self.trail),
            "VIRTAUDIT_TRAIL_ANCHOR": "none",
        }

    @contextlib.contextmanager
    def start(
        self, tasks: list[dict[str, t.Any]], *args: str, **environment: str
    ) -> t.Iterator[subprocess.Popen[str]]:
        """Start a run, and kill what is left of it at the end of the context."""
        play = {"hosts": "localhost", "gather_facts": False, "connection": "local"}
        (self.path / "play.yml").write_text(json.dumps([{**play, "tasks": tasks}]))
        # A shell makes programs in its background ignore SIGINT, and nohup makes a program ignore SIGHUP.
        heeding = ["env", "--default-signal=INT,HUP"]
        with subprocess.Popen(
            [*heeding, *PLAYBOOK, "-i", "localhost,", *args, "play.yml"],
            cwd=self.path,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as child:
            try:
                yield child
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)

    def run(
        self, tasks: list[dict[str, t.Any]], *args: str, **environment: str
    ) -> tuple[str, str]:
        """Return the stdout and the stderr of a run."""
        with self.start(tasks, *args, **environment) as child:
            return child.communicate(timeout=120)

    def files(self) -> list[Checked]:
        return check_files(trail_files(str(self.trail)))

    def lines(self) -> list[Line]:
        """Return the lines of the newest file."""
        text = Path(trail_files(str(self.trail))[-1]).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def attach(serial: int, **more: t.Any) -> dict[str, t.Any]:
    return {MODULE: {"name": "web01", "serial": serial}, **more}


# The task after the one whose line is of interest. It makes a file as soon as it runs, and then takes too long.
PAUSE = {"ansible.builtin.shell": "touch paused; sleep 15"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_broken_off_has_a_closing_line(
    place: Place, number: signal.Signals
) -> None:
    with place.start([attach(1), PAUSE]) as child:
        wait_until(place.path.joinpath("paused").exists)
        if number == signal.SIGINT:
            # A terminal does the same.
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        child.communicate(timeout=60)
    assert child.returncode != 0
    assert [each.status for each in place.files()] == ["sound"]
    end = place.lines()[-1]
    assert end["event"]["action"] == "run_end"
    assert end["event"]["outcome"] == "failure"
    assert "broken off" in end["virtaudit"]["broken_off"]
    assert end["virtaudit"]["summary"]["sent"] == 1


# After Ctrl-C, ansible-core waits forever if its worker was ended while it held the lock of the queue of results. So
# let the worker end first.
_CTRL_C = """
import multiprocessing, os, signal
write = os.write
def write_and_break_off(fd, data):
    written = write(fd, data)
    if b'"action":"open"' in bytes(data):
        for worker in multiprocessing.active_children():
            worker.join(60)
        os.kill(os.getpid(), signal.SIGINT)
    return written
os.write = write_and_break_off
"""


def test_ctrl_c_right_after_a_line_was_written(place: Place) -> None:
    (place.path / "sitecustomize.py").write_text(_CTRL_C)
    path = os.pathsep.join([str(place.path), place.environment["PYTHONPATH"]])
    stdout, stderr = place.run([attach(1), PAUSE], PYTHONPATH=path)
    assert not place.path.joinpath("paused").exists(), stdout
    assert [each.describe()[:5] for each in place.files()] == ["sound"], stderr
    assert place.lines()[-1]["virtaudit"]["summary"]["sent"] == 1


def test_a_broken_include_has_a_closing_line(place: Place) -> None:
    (place.path / "bad.yml").write_text("- name: [")
    _stdout, stderr = place.run(
        [attach(1), {"ansible.builtin.include_tasks": "bad.yml"}]
    )
    assert [each.status for each in place.files()] == ["sound"], stderr


def test_the_next_run_vouches_for_a_run_that_was_killed(place: Place) -> None:
    with place.start([attach(1), PAUSE]) as child:
        wait_until(place.path.joinpath("paused").exists)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
    place.run([attach(2)])
    assert [each.status for each in place.files()] == ["unfinished", "sound"]
    assert place.files()[1].anchors[0]["hash"] == place.files()[0].head


def test_a_run_vouches_for_no_file_that_still_grows(place: Place) -> None:
    with place.start([attach(1), PAUSE]) as first:
        wait_until(place.path.joinpath("paused").exists)
        place.run([attach(2)])
        anchor = place.files()[1].anchors[0]
        assert (anchor["closed"], anchor["running"]) == (False, True)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
    assert [each.status for each in verify(str(place.trail))] == [0, 0]
    path = Path(trail_files(str(place.trail))[0])
    lines = path.read_bytes().splitlines(keepends=True)
    at = [b'"hash":"%s"' % anchor["hash"].encode() in line for line in lines].index(
        True
    )
    assert at + 1 < len(lines)
    path.write_bytes(b"".join(lines[: at + 1]))
    assert [each.status for each in verify(str(place.trail))] == [3, 0]


JOB = {
    "awx_user_name": "alice",
    "awx_job_id": 4711,
    "awx_job_template_name": "Give VMs their NICs",
    "tower_user_name": "alice",
    "awx_password": "s3cret",
    "secret": "s3cret",
}


def test_the_trail_names_who_started_the_run(place: Place) -> None:
    place.run(
        [attach(1)],
        *("-e", json.dumps(JOB), "--limit", "localhost"),
        JOB_ID="4711",
        AWX_ISOLATED_DATA_DIR="/runner/artifacts/ident-1",
    )
    lines = place.lines()
    for line in lines:
        job = line["virtaudit"]["job"]
        assert (job["awx_user_name"], job["awx_job_id"]) == ("alice", "4711")
        assert job["awx_job_template_name"] == "Give VMs their NICs"
        assert (job["JOB_ID"], job["runner_ident"]) == ("4711", "ident-1")
        assert line["user"]["name"] == "alice"
    assert "s3cret" not in json.dumps(lines)
    inventory = lines[0]["virtaudit"]["inventory"]
    assert inventory["sources"] == ["localhost,"]
    assert inventory["limit"] == "localhost"
    assert len(inventory["hash"]) == 64


def test_the_modules_know_the_run(place: Place) -> None:
    own = {"OTHER": "{{ 1 + 1 }}"}
    environments: list[t.Any] = [own, [own], "{{ {'OTHER': '2'} }}", ["{{ given }}"]]
    tasks = [
        attach(serial, environment=each) for serial, each in enumerate(environments)
    ]
    block = {
        "block": [attach(8), attach(9, environment={"MORE": "3"})],
        "environment": own,
    }
    place.run(
        [attach(7), *tasks, block],
        *("-e", json.dumps({"given": {"OTHER": "2"}})),
    )
    records = [line for line in place.lines() if line["event"]["kind"] == "event"]
    runs = [line["virtaudit"]["fields"]["run"] for line in records]
    assert runs == [place.lines()[0]["virtaudit"]["run"]["id"]] * 7
    others = [line["virtaudit"]["fields"].get("other") for line in records]
    assert others == [None, *["2"] * 6]


@pytest.mark.parametrize("own", [None, {"OTHER": "2"}, ["{{ given }}"]])
def test_a_task_that_begins_again_is_told_the_run_once(own: t.Any) -> None:
    """With the strategy free, a task begins once for each host. It is the same object each time."""
    task = types.SimpleNamespace(_environment=own)
    for _host in range(3):
        audit_trail._name_run(task, "r1")
    named = {"VIRTAUDIT_RUN": "r1"}
    own = own if isinstance(own, list) else [own] if own else []
    assert task._environment == [*own, named]


def test_stdout_is_left_to_the_stdout_callback(place: Place) -> None:
    stdout, stderr = place.run([attach(1)], VIRTAUDIT_TRAIL_PROGRESS="1")
    assert "AUDIT TRAIL" not in stdout
    assert "AUDIT TRAIL" in stderr
    assert "head " in stderr


_ONE_DOCUMENT = """
import json
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "one_json"
    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps({"hosts": sorted(stats.processed)}))
"""


def test_a_callback_that_prints_json_prints_one_document(place: Place) -> None:
    plugins = place.path / "stdout_plugins"
    plugins.mkdir()
    (plugins / "one_json.py").write_text(_ONE_DOCUMENT)
    stdout, stderr = place.run(
        [attach(1)],
        ANSIBLE_CALLBACK_PLUGINS=str(plugins),
        ANSIBLE_STDOUT_CALLBACK="one_json",
    )
    assert json.loads(stdout) == {"hosts": ["localhost"]}, stderr
    assert "AUDIT TRAIL" in stderr


def test_the_head_is_signed(place: Place) -> None:
    key, signers = place.path / "key", place.path / "signers"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "-", "-f", str(key)],
        check=True,
    )
    public = key.with_suffix(".pub").read_text(encoding="ascii")
    signers.write_text(f"auditor {public}", encoding="ascii")
    place.run([attach(1)], VIRTAUDIT_TRAIL_SIGN_KEY=str(key))
    (file,) = place.files()
    who = check_signature(str(signers), f"{file.path}.sig", file.head)
    assert who == "auditor"


def test_a_warning_says_that_a_head_cannot_be_signed(place: Place) -> None:
    _stdout, stderr = place.run([attach(1)], VIRTAUDIT_TRAIL_SIGN_KEY="/nonexistent")
    assert "cannot be signed with /nonexistent" in stderr


def test_a_group_can_read(place: Place) -> None:
    place.run([attach(1)], VIRTAUDIT_TRAIL_GROUP="adm")
    (file,) = place.files()
    modes = [os.stat(path).st_mode & 0o777 for path in (place.trail, Path(file.path))]
    assert modes == [0o750, 0o640]
