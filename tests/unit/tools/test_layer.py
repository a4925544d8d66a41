# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.virtaudit.qemu.tests.tools import layer
from ansible_collections.virtaudit.qemu.tests.tools.readers import READERS, Outcome

RECAP = "{} : ok={} changed=0 unreachable=0 failed={} skipped=0 rescued=0 ignored=0\n"
ASSERTED = 'ok: [hv1] => {\n    "msg": "All assertions passed"\n}\n'
TARGET = "Running attach integration test role\n"
VERIFY = "INFO     attach ➜ verify: Executing\n"
VERIFIED = "INFO     attach ➜ verify: Executed: Successful\n"
NO_PYTHON = 'WARNING: Skipping sanity test "import" on Python 3.9 because it could not be found.\n'

# layer, its output, whether it counts as good, passed, failed, skipped
CASES = [
    ("lint", "", False, 0, 0, 0),
    ("lint", "nox > * codeqa: success, took 2 seconds\n", True, 1, 0, 0),
    ("lint", "nox > * lint: success\n", False, 0, 0, 0),
    ("lint", "nox > Session shell was successful in a second.\n", True, 1, 0, 0),
    ("lint", "nox > Session shell failed.\n", False, 0, 1, 0),
    ("lint", "nox > * codeqa: success\nnox > * typing: aborted\n", False, 1, 1, 0),
    ("lint", "nox > * codeqa: success\nnox > * typing: skipped\n", False, 1, 1, 0),
    (
        "lint",
        "nox > Skipping black (no files to process)\nnox > * formatters: success\n",
        False,
        1,
        0,
        0,
    ),
    (
        "lint",
        "nox > Skipping yamllint for extra docs (none)\nnox > * yamllint: success\n",
        False,
        1,
        0,
        0,
    ),
    (
        "lint",
        "nox > Running session build-import-check\n  WARNING: no such tag\n"
        "nox > Session build-import-check was successful.\nnox > * build-import-check: success\n",
        False,
        1,
        0,
        0,
    ),
    (
        "lint",
        "nox > Running session build-import-check\n  INFO: Linting role\n"
        "nox > Session build-import-check was successful.\nWARNING: Location is ignored\n"
        "nox > * build-import-check: success\n",
        True,
        1,
        0,
        0,
    ),
    ("sanity", "", False, 0, 0, 0),
    ("sanity", 'Running sanity test "pep8"\n', True, 1, 0, 0),
    ("sanity", 'Running sanity test "pep8"\n' + 2 * NO_PYTHON, True, 1, 0, 1),
    (
        "sanity",
        'Running sanity test "shellcheck"\nWARNING: Required program "shellcheck" not found.\n',
        False,
        1,
        0,
        0,
    ),
    (
        "sanity",
        'Running sanity test "pep8"\nFATAL: The 1 sanity test(s) listed below (out of 1) failed.\npep8\n',
        False,
        0,
        1,
        0,
    ),
    ("units", "WARNING: All targets skipped.\n", False, 0, 0, 0),
    (
        "units",
        "==== 3 passed in 0.20s ====\n== 2 passed in 61.2s (0:01:01) ==\n",
        True,
        5,
        0,
        0,
    ),
    ("units", "==== 1 failed, 3 passed, 2 skipped in 0.20s ====\n", False, 3, 1, 2),
    ("units", "==== 1 passed, 1 error in 0.20s ====\n", False, 1, 1, 0),
    ("units", "==== 4 skipped in 0.20s ====\n", False, 0, 0, 4),
    (
        "units",
        "== 3 passed in 0.20s ==\nnox > Session units-2.21 skipped: no Python 3.12.\n",
        True,
        3,
        0,
        1,
    ),
    ("compat", "nox > Session a skipped: no b.\n", False, 0, 0, 1),
    ("integration", "WARNING: All targets skipped.\n", False, 0, 0, 0),
    ("integration", TARGET + ASSERTED + RECAP.format("testhost", 3, 0), True, 1, 0, 0),
    ("integration", TARGET + RECAP.format("testhost", 1, 0), False, 0, 1, 0),
    ("integration", TARGET + ASSERTED + RECAP.format("testhost", 3, 1), False, 0, 1, 0),
    ("integration", TARGET, False, 0, 1, 0),
    (
        "integration",
        TARGET
        + ASSERTED
        + RECAP.format("testhost", 3, 0)
        + 'WARNING: Excluding target tests marked "disabled": detach\n',
        False,
        1,
        0,
        0,
    ),
    ("molecule", "", False, 0, 0, 0),
    (
        "molecule",
        VERIFY + ASSERTED + RECAP.format("hv1", 3, 0) + VERIFIED,
        True,
        1,
        0,
        0,
    ),
    ("molecule", VERIFY + VERIFIED, False, 0, 1, 0),
    ("molecule", VERIFY + VERIFIED.replace("Successful", "Missing"), False, 0, 1, 0),
    (
        "molecule",
        VERIFY
        + ASSERTED
        + RECAP.format("hv1", 3, 0)
        + VERIFIED
        + "INFO     attach ➜ prepare: Executing\nINFO     attach ➜ prepare: Executed: Missing\n",
        True,
        1,
        0,
        0,
    ),
    (
        "molecule",
        VERIFY + ASSERTED + RECAP.format("localhost", 3, 0) + VERIFIED,
        False,
        0,
        1,
        0,
    ),
    ("molecule", VERIFY + ASSERTED + RECAP.format("hv1", 3, 1), False, 0, 1, 0),
    (
        "molecule",
        "INFO     [fleet > verify] Executing\n"
        + ASSERTED
        + RECAP.format("hv1", 3, 0)
        + "INFO     [fleet > verify] Executed: Successful\n"
        + "INFO     [default > destroy] Executing\n"
        + "INFO     [default > destroy] Executed: Skipped (already)\n",
        True,
        1,
        0,
        0,
    ),
]


@pytest.mark.parametrize(
    ("layer", "text", "good", "passed", "failed", "skipped"), CASES
)
def test_reader(
    layer: str, text: str, good: bool, passed: int, failed: int, skipped: int
) -> None:
    outcome = READERS[layer](text)
    assert (outcome.passed, outcome.failed, outcome.skipped) == (
        passed,
        failed,
        skipped,
    )
    assert outcome.good is good


def test_a_layer_without_tests_fails() -> None:
    assert not Outcome().good


def test_a_signal_ends_the_command_and_its_last_output_is_read(
    tmp_path: Path,
) -> None:
    # If nobody reads the pipe, writing a line ends the writer before it has cleaned up.
    script = (
        "trap 'echo clearing up; sleep 0.2; echo; : >cleared; exit 0' TERM;"
        " echo up; while :; do sleep 0.1; done"
    )
    command = [sys.executable, "-m", layer.__name__, "run", "molecule"]
    with subprocess.Popen(
        [*command, "sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        text = process.stdout.read()
    assert "clearing up" in text
    assert "signal 15 ended it" in text
    assert process.returncode == 1
    assert (tmp_path / "cleared").exists()
