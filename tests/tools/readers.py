# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the closing lines of each layer, because ansible-test and molecule end in success even if everything
was skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ansible_collections.virtaudit.qemu.tests.tools.failures import find_task
from ansible_collections.virtaudit.qemu.tests.tools.slowest import Duration

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Outcome:
    """What the closing lines of a layer say."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    closing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    # What failed, and why.
    failures: list[str] = field(default_factory=list)
    seconds: int = 0
    slowest: list[Duration] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.passed > 0 and self.failed == 0 and not self.problems


def read_nox(text: str) -> Outcome:
    """Each session counts as one test."""
    found = Outcome()
    for line, name, state in re.findall(r"^(nox > \* ([\w.-]+): (\w+).*)$", text, re.M):
        if name == "lint":  # only pulls in the others
            continue
        found.closing.append(line)
        if state == "success":
            found.passed += 1
        else:
            found.failed += 1
    if not found.closing:
        _read_only_session(text, found)
    found.problems += re.findall(r"^.*Skipping .*$", text, re.M)
    # Galaxy's importer ends in success whatever it found.
    for log in re.findall(
        r"^nox > Running session build-import-check$(.*?)(?=^nox > Session )",
        text,
        re.M | re.S,
    ):
        found.problems += re.findall(r"^ *((?:ERROR|WARNING): .*)$", log, re.M)
    return found


def _read_only_session(text: str, found: Outcome) -> None:
    """nox prints a summary only if it ran several sessions."""
    for line, how in re.findall(
        r"^(nox > Session [\w.-]+ (was successful|failed).*)$", text, re.M
    ):
        found.closing.append(line)
        if how == "failed":
            found.failed += 1
        else:
            found.passed += 1


def read_sanity(text: str) -> Outcome:
    """Each sanity test counts as one test for each Python version."""
    found = Outcome()
    ran = re.findall(r'^Running sanity test "', text, re.M)
    for line, count in re.findall(r"^(FATAL: The (\d+) sanity test.*)$", text, re.M):
        found.closing.append(line)
        found.failed += int(count)
    # ansible-test prints each warning twice.
    for line in sorted(set(re.findall(r"^.*(?:Skipping|not found).*$", text, re.M))):
        # Only the other Pythons may be absent, because ruff and mypy check for 3.9.
        if re.search(
            r'Skipping sanity test "(?:compile|import)" on Python [\d.]+ because it could not be found',
            line,
        ):
            found.skipped += 1
        else:
            found.problems.append(line)
    found.passed = max(0, len(ran) - found.failed)
    found.closing.append(
        f"{len(ran)} sanity tests ran, {found.skipped} skipped for want of that Python"
    )
    return found


def read_pytest(text: str) -> Outcome:
    """ansible-test calls pytest once each for modules, module_utils and the rest."""
    found = Outcome()
    for line in re.findall(r"^=+ .*\d+ \w+.* in [\d.]+s.* =+$", text, re.M):
        found.closing.append(line)
        for count, word in re.findall(
            r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)", line
        ):
            if word in ("passed", "xpassed"):
                found.passed += int(count)
            elif word in ("skipped", "xfailed"):
                found.skipped += int(count)
            else:
                found.failed += int(count)
    found.problems += re.findall(r"^.*Skipping unit tests.*$", text, re.M)
    read_skipped_sessions(text, found)
    return found


def read_skipped_sessions(text: str, found: Outcome) -> None:
    """A session for another Python may be skipped, but not silently."""
    for line in re.findall(r"^nox > (Session \S+ skipped: .*)$", text, re.M):
        found.closing.append(line)
        found.skipped += 1


def read_recaps(text: str) -> tuple[int, int, list[str]]:
    """Return the number of ok tasks, the number of failed tasks, and the hosts of every PLAY RECAP."""
    lines = re.findall(
        r"^\W*([\w.-]+)\s+: ok=(\d+).*unreachable=(\d+)\s+failed=(\d+)", text, re.M
    )
    good = sum(int(ok) for _host, ok, _lost, _failed in lines)
    bad = sum(int(lost) + int(failed) for _host, _ok, lost, failed in lines)
    return good, bad, [host for host, ok, _lost, _failed in lines if int(ok)]


def read_integration(text: str) -> Outcome:
    """Each target counts as one test. It must also have asserted something, because gathered facts are ok, too."""
    found = Outcome()
    header = r"^Running (\S+) integration test (?:role|script)$"
    parts = re.split(header, text, flags=re.M)
    for name, log in zip(parts[1::2], parts[2::2]):
        good, bad, _hosts = read_recaps(log)
        asserted = log.count("All assertions passed")
        found.closing.append(
            f"{name}: PLAY RECAP ok={good} failed={bad}, {asserted} assertions passed"
        )
        if good and asserted and not bad:
            found.passed += 1
        else:
            found.failed += 1
            found.failures.append(f"{name}: {find_task(log)}")
    found.problems += sorted(set(re.findall(r"^.*WARNING: Excluding .*$", text, re.M)))
    read_skipped_sessions(text, found)
    return found


def read_molecule(text: str) -> Outcome:
    """Each verify counts as one test.

    It must have asserted something on a host of the inventory, because molecule ends in success even if there
    is no inventory and every play ran on nothing.
    """
    found = Outcome()
    # "[fleet > verify] Executing", or "fleet ➜ verify: Executing" in a terminal with UTF-8.
    header = r"^INFO +\[?(\S+) \S (\w+)[\]:]+ Executing$"
    parts = re.split(header, text, flags=re.M)
    for scenario, action, log in zip(parts[1::3], parts[2::3], parts[3::3]):
        good, bad, hosts = read_recaps(log)
        asserted = log.count("All assertions passed")
        states = re.findall(r"^INFO .* (\w+)[\]:]+ Executed: (\w+)", log, re.M)
        succeeded = (action, "Successful") in states
        if action == "verify":
            found.closing.append(
                f"{scenario} verify: PLAY RECAP ok={good} failed={bad} on {' '.join(sorted(set(hosts)))},"
                f" {asserted} assertions passed"
            )
            succeeded = succeeded and bool(asserted and set(hosts) - {"localhost"})
            found.passed += succeeded
        elif not succeeded:
            # Other actions may be absent or switched off.
            absent = ("Missing", "Disabled", "Skipped")
            succeeded = any((action, state) in states for state in absent)
        if not succeeded:
            found.failed += 1
            found.problems.append(f"{scenario} {action} did not succeed")
            found.failures.append(f"{scenario} {action}: {find_task(log)}")
    found.closing += re.findall(r"^\S+ +: actions=\d+ .*$", text, re.M)
    return found


def read_plain(text: str) -> Outcome:
    """Read the project's own closing line: ``N passed, N failed``."""
    found = Outcome()
    for line, passed, failed in re.findall(
        r"^((\d+) passed, (\d+) failed)$", text, re.M
    ):
        found.closing.append(line)
        found.passed += int(passed)
        found.failed += int(failed)
    found.problems += re.findall(r"^VIOLATION .*$", text, re.M)
    return found


READERS: dict[str, Callable[[str], Outcome]] = {
    "lint": read_nox,
    "sanity": read_sanity,
    "units": read_pytest,
    "integration": read_integration,
    "compat": read_integration,
    "integration-uml": read_integration,
    "fault": read_plain,
    "molecule": read_molecule,
    "molecule-tcg": read_molecule,
    "bench": read_plain,
}
