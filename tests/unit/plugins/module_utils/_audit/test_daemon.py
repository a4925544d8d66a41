# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.plugins.module_utils._audit import namespaces
from ansible_collections.virtaudit.qemu.plugins.module_utils._audit.daemon import (
    Daemon,
)
from ansible_collections.virtaudit.qemu.plugins.module_utils._log import auditd_conf

SLEEP = "import time; print(flush=True); time.sleep(600)"


@pytest.fixture(name="start_with")
def fixture_start_with() -> t.Iterator[t.Callable[..., Daemon]]:
    """Start processes that have these further words in their command lines."""
    started = []

    def start(*words: str) -> Daemon:
        child = subprocess.Popen(
            [sys.executable, "-c", SLEEP, *words], stdout=subprocess.PIPE
        )
        started.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        daemon = Daemon.of(child.pid)
        assert daemon is not None
        return daemon

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_zombie_does_not_count(start_with: t.Callable[..., Daemon]) -> None:
    daemon = start_with()
    assert Daemon.of(daemon.pid) == daemon
    os.kill(daemon.pid, signal.SIGKILL)
    os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOWAIT)
    assert os.path.exists(f"/proc/{daemon.pid}")
    assert Daemon.of(daemon.pid) is None


@pytest.mark.parametrize(
    ("words", "directory"),
    [
        ([], "/etc/audit"),
        (["-n", "-s", "enable"], "/etc/audit"),
        (["-c", "/run/audit"], "/run/audit"),
        (["-c/run/audit", "-n"], "/run/audit"),
    ],
)
def test_the_configuration_with_which_the_daemon_was_started(
    words: list[str],
    directory: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Daemon, "command_line", lambda _self: ["auditd", *words])
    assert Daemon(1, 1).configuration == f"{directory}/auditd.conf"


def test_the_configuration_of_a_daemon_that_is_gone() -> None:
    assert Daemon(2**22 + 1, 1).configuration == "/etc/audit/auditd.conf"


@pytest.mark.parametrize(
    ("text", "log"),
    [
        ("", "/var/log/audit/audit.log"),
        ("log_file = /srv/audit.log", "/srv/audit.log"),
        ("log_file = /srv/1.log\nLOG_FILE=/srv/2.log\n", "/srv/2.log"),
        ("#write_logs = no\nlog_format = RAW", "/var/log/audit/audit.log"),
        ("write_logs = no", None),
        ("  WRITE_LOGS=No\nlog_file = /srv/audit.log\n", None),
        ("log_format = NOLOG", None),
        ("log_format = nolog", None),
        ("write_logs = yes\nlog_format = ENRICHED", "/var/log/audit/audit.log"),
    ],
)
def test_the_log_that_its_configuration_names(
    text: str, log: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "auditd.conf").write_text(text)
    monkeypatch.setattr(
        Daemon, "command_line", lambda _self: ["auditd", "-c", str(tmp_path)]
    )
    assert Daemon(1, 1).log() == log


def test_a_daemon_without_a_configuration_takes_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Daemon, "command_line", lambda _self: ["auditd", "-c", str(tmp_path)]
    )
    assert Daemon(1, 1).log() == auditd_conf.log_path("/nonexistent")


@pytest.mark.parametrize(
    ("own", "kind"),
    [
        ({}, None),
        ({"self/user": "user:[4026532500]", "self/pid": "pid:[4026532501]"}, "user"),
        ({"self/pid": "pid:[4026532501]", "1/net": "net:[4026532502]"}, "pid"),
        ({"self/net": "net:[4026532502]"}, "network"),
        ({"self/user": None, "self/pid": None}, None),
    ],
)
def test_namespaces(
    own: dict[str, str | None], kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, str | None] = {
        "self/user": "user:[4026531837]",
        "self/pid": "pid:[4026531836]",
        "self/net": "net:[4026531840]",
        "1/net": "net:[4026531840]",
    }
    found.update(own)
    monkeypatch.setattr(
        namespaces, "_of", lambda process, kind: found[f"{process}/{kind}"]
    )
    assert namespaces.foreign() == kind


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (["dev_weight", "somaxconn"], None),
        (["somaxconn"], "network"),
        (None, None),
    ],
)
def test_the_network_namespace_where_process_1_cannot_be_looked_at(
    settings: list[str] | None,
    kind: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespaces, "_of", lambda process, kind: None)
    monkeypatch.setattr(namespaces, "_SETTINGS", str(tmp_path / "core"))
    if settings is not None:
        (tmp_path / "core").mkdir()
        for name in settings:
            (tmp_path / "core" / name).touch()
    assert namespaces.foreign() == kind
