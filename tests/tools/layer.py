# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run one layer of the tests, and judge it by its counts as well as by its exit code.

layer.py run LAYER COMMAND...   run a layer, and show it; fail if it fails or has tested nothing
layer.py summary LAYER...       print one line for each layer, what took longest in each, what failed, and the sum
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from ansible_collections.virtaudit.qemu.tests.tools import history
from ansible_collections.virtaudit.qemu.tests.tools.failures import find_lines
from ansible_collections.virtaudit.qemu.tests.tools.readers import (
    COLOUR,
    READERS,
    Outcome,
)
from ansible_collections.virtaudit.qemu.tests.tools.slowest import (
    Duration,
    Line,
    find_slowest,
)

RESULTS = Path(".cache/layers")


def run(layer: str, command: list[str]) -> Outcome:
    """Run the command in front of the user, and read what it wrote."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    lines: list[Line] = []
    with (RESULTS / f"{layer}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdout is not None
        signals = _forward_signals(process)
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            log.write(line)
            log.flush()
            lines.append(
                (time.monotonic() - started, COLOUR.sub("", line).rstrip("\n"))
            )
        code = process.wait()
    text = "".join(f"{line}\n" for _seconds, line in lines)
    outcome = READERS[layer](text)
    outcome.failures += find_lines(layer, text)
    lines.append((time.monotonic() - started, ""))
    outcome.seconds = round(lines[-1][0])
    outcome.slowest = find_slowest(layer, lines)
    if code:
        outcome.failed = max(outcome.failed, 1)
        outcome.problems.append(f"{command[0]} ended with {code}")
    if signals:
        outcome.failed = max(outcome.failed, 1)
        outcome.problems.append(f"signal {signals[0]} ended it")
    if not outcome.passed and not outcome.failed:
        outcome.problems.append("no test ran")
    return outcome


def _forward_signals(process: subprocess.Popen[str]) -> list[int]:
    """Let a signal end the layer's command. Return the list that gets the numbers of the signals.

    The output of the command is read to its end, because a command without a reader would be killed while it cleans up.
    """
    came: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        process.send_signal(signal.SIGTERM)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    return came


def _environment() -> dict[str, str]:
    # The layer must not see the path of this program's own imports.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # molecule folds its lines, recaps included, to the width of the terminal. Python must not buffer lines,
    # because a buffered line would count as written late.
    return {**kept, "COLUMNS": "250", "PYTHONUNBUFFERED": "1"}


def describe(layer: str, outcome: Outcome) -> str:
    state = "ok" if outcome.good else "FAILED"
    counts = f"{outcome.passed:4} passed {outcome.failed:4} failed {outcome.skipped:4} skipped"
    return f"{layer:12} {state:7} {counts} {outcome.seconds:5} s"


def load(layer: str) -> Outcome:
    """Return a layer's result. A layer without a result has failed: it ended too early."""
    path = RESULTS / f"{layer}.json"
    if not path.exists():
        return Outcome(failed=1, problems=["did not run"])
    outcome = Outcome(**json.loads(path.read_text(encoding="utf-8")))
    outcome.slowest = [Duration(*each) for each in outcome.slowest]
    return outcome


def summary(layers: list[str]) -> bool:
    """Print the results of all layers, and tell whether all are good."""
    outcomes = {layer: load(layer) for layer in layers}
    for layer, outcome in outcomes.items():
        print(describe(layer, outcome))
        for line in outcome.closing:
            print(f"    {line}")
        for line in outcome.problems:
            print(f"    PROBLEM: {line}")
        for each in outcome.slowest:
            print(f"    {each.seconds:6.1f} s  {each.kind} {each.name}")
    print("-" * 70)
    before = history.last_seconds()
    for layer, outcome in outcomes.items():
        earlier = f" (before: {before[layer]} s)" if layer in before else ""
        print(f"{describe(layer, outcome)}{earlier}")
    for layer, outcome in outcomes.items():
        # A layer that ran no test has a problem and no failure.
        for failure in outcome.failures or outcome.problems:
            print(f"FAILED: {layer}: {failure}")
    history.add({layer: asdict(outcome) for layer, outcome in outcomes.items()})
    good = all(outcome.good for outcome in outcomes.values())
    passed = sum(outcome.passed for outcome in outcomes.values())
    # A layer can fail without a failed test. The sum must then not look clean.
    failed = sum(outcome.failed or (not outcome.good) for outcome in outcomes.values())
    print(f"{passed} passed, {failed} failed")
    return good


def main(verb: str, *args: str) -> int:
    if verb == "summary":
        return 0 if summary(list(args)) else 1
    layer, *command = args
    result = RESULTS / f"{layer}.json"
    result.unlink(missing_ok=True)
    outcome = run(layer, command)
    result.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    print(describe(layer, outcome))
    for line in outcome.problems:
        print(f"    PROBLEM: {line}")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
