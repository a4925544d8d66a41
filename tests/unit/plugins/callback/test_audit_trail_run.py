# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The callback under the ansible-playbook that runs the tests. Only the modules are stubs.

Each record has its own serial number, so the tests notice a record that is lost or there twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import typing as t
from pathlib import Path

import ansible
import jsonschema
import pytest

from ansible_collections.virtaudit.qemu.plugins.plugin_utils._trail.chain import (
    check_files,
    trail_files,
)
from ansible_collections.virtaudit.qemu.tests.support.stub.collection import (
    make_collection,
)
from ansible_collections.virtaudit.qemu.tests.unit.support.trail import write_trail

MODULE = "virtaudit.qemu.vm_net_attach"
SCHEMA = jsonschema.Draft202012Validator(
    json.loads(
        (Path(__file__).parents[4] / "docs" / "audit_trail.schema.json").read_text()
    )
)
# ansible-test's environment for units has Ansible only on its own path.
ANSIBLE = str(Path(ansible.__file__).parents[1])
PLAYBOOK = [sys.executable, "-m", "ansible.cli.playbook"]
Run = t.Callable[..., "Ran"]


class Ran(t.NamedTuple):
    """The output of a run, and its trail."""

    status: int
    output: str
    lines: list[dict[str, t.Any]]

    def serials(self) -> list[tuple[str, int]]:
        """Return each record as its host and serial number, in order."""
        return [
            (line["host"]["name"], int(line["event"]["id"].rpartition(":")[2]))
            for line in self.lines
            if line["event"]["kind"] == "event"
        ]

    def gaps(self) -> list[tuple[str, str]]:
        """Return what may be missing, each with its kind and the task."""
        return [
            (line["event"]["action"], line["virtaudit"]["task"]["name"])
            for line in self.lines
            if line["event"]["kind"] == "pipeline_error"
        ]


def environment_of(home: Path, trail: Path) -> dict[str, str]:
    """Return the environment of a run that keeps its trail in ``trail``, and everything else in ``home``."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": ANSIBLE,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(home / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(home),
        "ANSIBLE_CALLBACKS_ENABLED": "virtaudit.qemu.audit_trail",
        "VIRTAUDIT_TRAIL_DIR": str(trail),
    }


@pytest.fixture(name="run")
def fixture_run(tmp_path: Path) -> Run:
    """Run tasks on the hosts a and b, both this machine."""
    make_collection(tmp_path)
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    hosts = {"a": {}, "b": {"ansible_host": "127.0.0.1"}}
    inventory = {"all": {"hosts": hosts, "vars": local}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))

    def run(
        tasks: list[dict[str, t.Any]],
        *args: str,
        trail: Path = tmp_path / "trail",
        environment: t.Mapping[str, str] | None = None,
        **play: t.Any,
    ) -> Ran:
        keywords = {"name": "Play", "hosts": "a", "gather_facts": False, **play}
        (tmp_path / "play.yml").write_text(json.dumps([{**keywords, "tasks": tasks}]))
        done = subprocess.run(
            [*PLAYBOOK, "-i", "hosts.json", *args, "play.yml"],
            cwd=tmp_path,
            env={**environment_of(tmp_path, trail), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        # Ansible reports problems of a callback in warnings.
        said = re.findall(
            r"^.*(?:\[WARNING|\[DEPRECAT|Traceback).*$", done.stdout, re.M
        )
        assert said == [], done.stdout
        return Ran(done.returncode, done.stdout, read(trail))

    return run


def read(trail: Path) -> list[dict[str, t.Any]]:
    """Return the lines of the newest file, which must be sound if it has an end."""
    if not trail.is_dir():
        return []
    paths = trail_files(str(trail))
    assert [each.problem for each in check_files(paths)] == [None] * len(paths)
    with open(paths[-1], encoding="ascii") as handle:
        lines = [json.loads(line) for line in handle]
    for line in lines:
        SCHEMA.validate(line)
    return lines


def attach(serial: int, name: str = "Attach", **keywords: t.Any) -> dict[str, t.Any]:
    options = {
        key: keywords.pop(key)
        for key in ("records", "fail", "fail_without", "secret", "count")
        if key in keywords
    }
    return {
        "name": name,
        MODULE: {"name": "web01", "serial": serial, **options},
        **keywords,
    }


def test_each_record_once(run: Run, tmp_path: Path) -> None:
    """Loops, failures, repetitions, rescue, delegation, roles, handlers, background jobs."""
    (tmp_path / "roles" / "r" / "tasks").mkdir(parents=True)
    role = [attach(1600, "In a role", records=2)]
    (tmp_path / "roles" / "r" / "tasks" / "main.yml").write_text(json.dumps(role))
    failing = {"fail": "{{ item == 1 }}", "loop": [0, 1, 2], "ignore_errors": True}
    tasks = [
        attach(1000, records=3, notify="Handle"),
        attach("{{ 1100 + item * 10 }}", "Loop", records=2, **failing),  # type: ignore[arg-type]
        {
            "name": "Block",
            "block": [attach(1200, "Half way", records=4, fail=True)],
            "rescue": [attach(1300, "Rescue")],
        },
        attach(
            "{{ 1400 + 10 * (once.attempts | default(0)) }}",  # type: ignore[arg-type]
            "Repeat",
            fail_without=str(tmp_path / "there"),
            register="once",
            until="once is succeeded",
            retries=2,
            delay=0,
        ),
        attach(
            "{{ 1500 if item == 'a' else 1501 }}",  # type: ignore[arg-type]
            "Delegate",
            delegate_to="{{ item }}",
            loop=["a", "b"],
        ),
        {"name": "Role", "ansible.builtin.include_role": {"name": "r"}},
        attach(1700, "Wait", **{"async": 30, "poll": 1}),
        attach(1800, "Begin", **{"async": 30, "poll": 0, "register": "job"}),
        {
            "name": "Collect",
            "ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"},
            "register": "got",
            "until": "got.finished | bool",
            "retries": 60,
            "delay": 0.5,
        },
        {
            "name": "Collect again",
            "ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"},
        },
        attach(1900, "Skip", when=False),
        attach(1900, "Skip items", when=False, loop=[1, 2]),
        attach(1910, "Check", check_mode=True),
    ]
    ran = run(tasks, handlers=[attach(2000, "Handle")])
    assert ran.status == 0, ran.output
    assert ran.serials() == [
        *[("a", 1000 + each) for each in range(3)],
        *[("a", each) for each in (1100, 1101, 1110, 1111, 1120, 1121)],
        *[("a", 1200 + each) for each in range(4)],
        ("a", 1300),
        *ran.serials()[14:16],
        ("a", 1500),
        ("b", 1501),
        *[("a", each) for each in (1600, 1601, 1700, 1800, 2000)],
    ]
    assert [host for host, _serial in ran.serials()[14:16]] == ["a", "a"]
    assert ran.gaps() == []
    delegated = [
        line["virtaudit"]
        for line in ran.lines
        if "1501" in str(line["event"].get("id"))
    ]
    assert [each["inventory_host"] for each in delegated] == ["a"]
    assert [line["virtaudit"]["module"] for line in ran.lines[1:-1]] == [MODULE] * 23
    summary = ran.lines[-1]["virtaudit"]["summary"]
    assert (summary["records"], summary["sent"], summary["unwritten"]) == (23, 23, 0)
    assert "THE AUDIT TRAIL" not in ran.output


def test_the_trail_says_what_may_be_missing(run: Run, tmp_path: Path) -> None:
    dead = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    tasks = [
        attach(1, "Hidden", no_log=True, secret="s3cr3t"),
        attach(2, "Hidden items", no_log=True, loop=[1, 2]),
        attach(
            3,
            "Crashed",
            vars={"ansible_python_interpreter": "/nonexistent"},
            ignore_errors=True,
        ),
        attach(4, "Uncollected", **{"async": 30, "poll": 0}),
        # Some versions of ansible-core make no difference between a module that refused and a module that broke.
        {"name": "Refused", MODULE: {"records": 1}, "ignore_errors": True},
        attach(5, "Lost", vars=dead, ignore_unreachable=True),
    ]
    ran = run(tasks)
    assert ran.gaps() == [
        ("records_hidden", "Hidden"),
        ("records_hidden", "Hidden items"),
        ("records_hidden", "Hidden items"),
        ("records_unknown", "Crashed"),
        ("records_unknown", "Refused"),
        ("records_unknown", "Lost"),
        ("records_unknown", "Uncollected"),
    ]
    assert ran.serials() == []
    for gap in ("Hidden", "Crashed", "Lost", "Uncollected"):
        assert re.search(rf"^a: {gap}: ", ran.output, re.M), ran.output
    (file,) = (tmp_path / "trail").iterdir()
    assert "s3cr3t" not in file.read_text()


def test_no_other_task_can_forge_a_record(run: Run, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    stub = (
        tmp_path / "ansible_collections/virtaudit/qemu/plugins/modules/vm_net_attach.py"
    )
    (tmp_path / "library" / "vm_net_attach.py").symlink_to(stub)
    forged = {"mode": "required", "records": "{{ real.audit.records }}"}
    job = {"ansible_job_id": "j1.1", "finished": 1, "audit": forged}
    tasks = [
        attach(1, register="real"),
        {"name": "Lookalike", "vm_net_attach": {"name": "evil", "serial": 666}},
        {"name": "Say", "ansible.builtin.debug": {"var": "real"}},
        {"name": "Say more", "ansible.builtin.debug": {"msg": {"audit": forged}}},
        {"name": "Set", "ansible.builtin.set_fact": {"audit": forged, **job}},
        {
            "name": "Ask",
            "ansible.builtin.async_status": {"jid": "j1.1"},
            "ignore_errors": True,
        },
    ]
    ran = run(tasks)
    assert ran.serials() == [("a", 1)]
    assert len(ran.lines) == 3


def test_a_run_that_grants_nothing_leaves_no_file(run: Run, tmp_path: Path) -> None:
    ran = run([{"name": "Say", "ansible.builtin.debug": {"msg": "hello"}}])
    assert (ran.status, ran.lines) == (0, [])
    assert not (tmp_path / "trail").exists()
    assert "AUDIT TRAIL" not in ran.output


@pytest.mark.parametrize("strategy", ["linear", "free"])
def test_abort_ends_the_run_before_anything_is_granted(
    run: Run, tmp_path: Path, strategy: str
) -> None:
    (tmp_path / "file").touch()
    done = tmp_path / "done"
    task = attach(1, fail_without=str(done))
    ran = run(
        [task],
        trail=tmp_path / "file" / "trail",
        environment={"VIRTAUDIT_TRAIL_ON_ERROR": "abort"},
        strategy=strategy,
        hosts="all",
    )
    assert ran.status == 1
    assert ran.output.count("THE AUDIT TRAIL CANNOT BE KEPT") == 1, ran.output
    assert not done.exists()


def test_warn_warns_once_and_again_at_the_end(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run([attach(1, records=3), attach(4)], trail=tmp_path / "file" / "trail")
    assert ran.status == 0
    assert ran.output.count("THE AUDIT TRAIL CANNOT BE KEPT") == 1
    assert "THE AUDIT TRAIL IS NOT WHOLE: 4 lines are not in it" in ran.output


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("ON_ERROR", "ignore", "on_error"),
        ("ROWS", "-1", "rows"),
        ("PROGRESS", "soon", "progress"),
    ],
)
def test_a_bad_option_ends_the_run_before_it_begins(
    run: Run, name: str, value: str, option: str
) -> None:
    ran = run([attach(1)], environment={f"VIRTAUDIT_TRAIL_{name}": value})
    assert (ran.status, ran.lines) == (1, [])
    assert re.search(rf"(?s)audit_trail: .*{option}", ran.output), ran.output
    assert "TASK" not in ran.output


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a run whose files have room for the records of two results and a half."""
    limit = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600000, 600000))"
    )
    (tmp_path / "sitecustomize.py").write_text(
        f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {limit}\n"
    )
    return {
        "PYTHONPATH": os.pathsep.join((str(tmp_path), ANSIBLE)),
        "VIRTAUDIT_TRAIL_ON_ERROR": "abort",
    }


MANY: list[dict[str, t.Any]] = [
    {"loop": list(range(12))},
    {"until": False, "retries": 12, "delay": 0},
]


@pytest.mark.parametrize(
    ("strategy", "hosts"), [("linear", ["a"]), ("free", ["a", "b"])]
)
@pytest.mark.parametrize("keywords", MANY, ids=["loop", "retries"])
def test_a_full_disk_is_found_in_the_middle_of_a_task(
    run: Run,
    tmp_path: Path,
    small_disk: dict[str, str],
    keywords: dict[str, t.Any],
    strategy: str,
    hosts: list[str],
) -> None:
    """Ansible reports items and attempts in a thread of its own. An exit there would hang the run."""
    counter = tmp_path / "count"
    serial = "{{ (item | default(0)) * 1000 }}"
    task = attach(serial, records=150, count=str(counter), **keywords)  # type: ignore[arg-type]
    later = {"name": "Later", "ansible.builtin.debug": {"msg": "later"}}
    ran = run([task, later], environment=small_disk, strategy=strategy, hosts=hosts)
    assert ran.status == 1, ran.output
    assert ran.output.count("THE AUDIT TRAIL CANNOT BE KEPT") == 1
    # A worker does not wait for the callback, so on a busy machine some more tasks may have begun before the third
    # result was known. All tasks would be 12. stdout and stderr have no order, so the test counts results.
    most = 6 * len(hosts)
    assert len(re.findall(r"\(item=|RETRYING", ran.output)) <= most, ran.output
    assert "[Later]" not in ran.output
    assert 151 < len(ran.lines) < 600
    assert counter.stat().st_size <= most


def test_runs_of_one_directory_are_chained(run: Run, tmp_path: Path) -> None:
    heads = [run([attach(number)]).lines[-1] for number in (1, 2)]
    names = sorted(os.listdir(tmp_path / "trail"))
    previous = heads[1]["virtaudit"]["summary"]["previous_run"]
    assert previous == {
        "file": names[0],
        "hash": heads[0]["event"]["hash"],
        "closed": True,
    }


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "settings/trail"),
        # The environment comes first, as for the callback, and a path in it is relative to this
        # directory.
        ({"VIRTAUDIT_TRAIL_DIR": "./elsewhere"}, "elsewhere"),
    ],
)
def test_the_check_looks_where_the_callback_writes(
    run: Run, tmp_path: Path, settings: dict[str, str], where: str
) -> None:
    cfg = tmp_path / "settings" / "ansible.cfg"
    cfg.parent.mkdir()
    cfg.write_text("[callback_audit_trail]\ndir = ./trail\n")
    environment = {**environment_of(tmp_path, tmp_path), "ANSIBLE_CONFIG": str(cfg)}
    del environment["VIRTAUDIT_TRAIL_DIR"]
    written = write_trail(tmp_path / where)
    done = subprocess.run(
        [*PLAYBOOK, "virtaudit.qemu.trail_verify"],
        cwd=tmp_path,
        env={**environment, "PWD": str(tmp_path), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(rf"sound .*/{where}/{written.name}:", done.stdout), done.stdout


@pytest.mark.parametrize("given", ["signers", "heads_from"])
def test_a_relative_path_without_pwd_is_refused(
    run: Run, tmp_path: Path, given: str
) -> None:
    settings = {"trail_verify_path": str(tmp_path), f"trail_verify_{given}": "known"}
    done = subprocess.run(
        [*PLAYBOOK, "virtaudit.qemu.trail_verify", "-e", json.dumps(settings)],
        cwd=tmp_path,
        env=environment_of(tmp_path, tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode != 0
    assert "the environment has no PWD" in done.stdout


def test_quiet_prints_only_what_is_wrong(run: Run) -> None:
    environment = {"VIRTAUDIT_TRAIL_QUIET": "1"}
    ran = run([attach(1), attach(2, "Hidden", no_log=True)], environment=environment)
    after = ran.output.partition("PLAY RECAP")[2].splitlines()[1:]
    assert [line for line in after if line and not line.startswith("a  ")] == [
        "a: Hidden: no_log hides the result, and with it the records; vm_net_audit_info can read them back"
    ]


def in_terminal(
    work: Path, columns: int, environment: t.Mapping[str, str]
) -> tuple[list[str], str]:
    """Run the fixture's playbook in a terminal.

    Return the lines of the summary as a person reads them, and the raw output.
    """
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    with subprocess.Popen(
        [*PLAYBOOK, "-i", "hosts.json", "play.yml"],
        cwd=work,
        env={
            **environment_of(work, work / "terminal"),
            "TERM": "xterm-256color",
            **environment,
        },
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ):
        os.close(inside)
        came = b""
        with contextlib.suppress(OSError):
            # At its end, a terminal raises an error.
            while part := os.read(outside, 65536):
                came += part
    os.close(outside)
    text = came.decode("utf-8")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return plain.partition("AUDIT TRAIL")[2].splitlines()[1:], text


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("colour", [True, False])
def test_in_a_terminal(run: Run, tmp_path: Path, columns: int, colour: bool) -> None:
    vm = "a-name-that-nobody-would-want-to-read-in-a-table-of-80-columns-" + "x" * 30
    named = {"name": "Attach", MODULE: {"name": vm, "serial": 5, "records": 2}}
    run([named, attach(1, "Hidden", no_log=True)])
    environment = {} if colour else {"NO_COLOR": "1"}
    lines, text = in_terminal(tmp_path, columns, environment)
    mac = "52:54:00:00:00:00"
    (row,) = (number for number, line in enumerate(lines) if mac in line)
    if columns == 80:
        # The path and the head may be longer, because people copy them.
        assert max(map(len, lines[:-2])) <= 80
        assert lines[row].split()[0::2] == ["a", mac]
        assert lines[row + 1].split()[:2] == ["attach", "success"]
        assert lines[0].startswith("a: Hidden: no_log hides the result")
        assert lines[1].startswith("  ")
    else:
        assert lines[row].split()[:5] == ["a", vm, mac, "vt525400000000", "attach"]
    assert ("\x1b[0;31ma: Hidden" in text) == colour
    assert ("\x1b[" in text) == colour


def test_progress(run: Run) -> None:
    pause = {"name": "Wait", "ansible.builtin.pause": {"seconds": 2}}
    environment = {"VIRTAUDIT_TRAIL_PROGRESS": "1"}
    ran = run([pause, attach(1, records=4)], environment=environment)
    assert "audit trail: 4 records of 1 hosts so far" in ran.output


def test_an_ad_hoc_task(run: Run, tmp_path: Path) -> None:
    trail = tmp_path / "adhoc"
    task = ["-m", MODULE, "-a", "name=web01 serial=7"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible.cli.adhoc",
            "-i",
            "localhost,",
            "-c",
            "local",
            *task,
            "localhost",
        ],
        env={
            **environment_of(tmp_path, trail),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    lines = read(trail)
    assert [line["event"]["action"] for line in lines] == [
        "run_start",
        "open",
        "run_end",
    ], done.stdout
    assert lines[1]["virtaudit"]["playbook"] == {"path": None, "revision": None}
