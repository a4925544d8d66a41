# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools import layer
from ansible_collections.virtaudit.qemu.tests.tools.failures import (
    find_lines,
    find_task,
)

RECAP = "\nPLAY RECAP ****\ntesthost : ok=3 changed=0 unreachable=0 failed=1 skipped=0 rescued=0 ignored=0\n"
ASSERTION = json.dumps(
    {"assertion": "records | length == 2", "msg": "Two records: []"}, indent=4
)


def _task(name: str, *lines: str) -> str:
    return "\n".join([f"TASK [{name}] ****", *lines, "", ""])


def test_the_task_that_ended_the_play_is_found() -> None:
    log = (
        _task("Refuse it", 'fatal: [testhost]: FAILED! => {"msg": "no"}', "...ignoring")
        + _task("Two records", f"fatal: [testhost]: FAILED! => {ASSERTION}")
        + _task("Remove the bridge", "changed: [testhost]")
        + RECAP
    )
    assert (
        find_task(log) == "TASK [Two records]: Two records: []: records | length == 2"
    )


def test_the_end_of_a_command_s_errors_is_shown() -> None:
    result = {"msg": "non-zero return code", "stderr": f"{'x' * 9000}\nlate", "rc": 1}
    log = _task("Run it", f"fatal: [testhost]: FAILED! => {json.dumps(result)}") + RECAP
    shown = find_task(log)
    assert shown.startswith("TASK [Run it]: non-zero return code: xxx")
    assert shown.endswith("x late")
    assert len(shown) < 600


def test_an_unreachable_host_and_broken_json_are_shown_as_they_are() -> None:
    line = "fatal: [hv1]: UNREACHABLE! => {"
    assert find_task(_task("Ping", line, "cut")) == f"TASK [Ping]: {line}"


@pytest.mark.parametrize(
    ("log", "shown"),
    [("", "it wrote nothing"), ("a\nNo such role\n\n", "No such role")],
)
def test_a_log_without_a_failed_task_shows_its_last_line(log: str, shown: str) -> None:
    assert find_task(log) == shown


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        (
            "lint",
            "nox > Session codeqa was successful.\nnox > Session typing failed.\n",
            ["nox > Session typing failed."],
        ),
        ("sanity", 2 * "ERROR: a.py:1:1: E1: long\n", ["ERROR: a.py:1:1: E1: long"]),
        (
            "units",
            "ERROR    root:a.py:3 logged\nFAILED tests/a.py::test_b - assert 1 == 2\n",
            ["FAILED tests/a.py::test_b - assert 1 == 2"],
        ),
        ("fault", "1 points\nVIOLATION I1: no record\n", ["VIOLATION I1: no record"]),
        ("molecule", "FAILED a.py\n", []),
    ],
)
def test_the_lines_in_which_a_tool_says_what_failed(
    name: str, text: str, shown: list[str]
) -> None:
    assert find_lines(name, text) == shown


def test_the_summary_says_last_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    log = "Running attach integration test role\n" + _task(
        "Two records", f"fatal: [testhost]: FAILED! => {ASSERTION}"
    )
    command = ["python3", "-c", f"print({log + RECAP!r})"]
    assert layer.main("run", "integration", *command) == 1
    capsys.readouterr()
    assert layer.main("summary", "integration") == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "FAILED: integration: attach: TASK [Two records]: Two records: []: records | length == 2",
        "0 passed, 1 failed",
    ]


def test_the_summary_says_last_that_a_layer_ran_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert layer.main("run", "units", "true") == 1
    capsys.readouterr()
    assert layer.main("summary", "units", "lint") == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "FAILED: units: no test ran",
        "FAILED: lint: did not run",
        "0 passed, 2 failed",
    ]
