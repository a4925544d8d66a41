# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common parts of the benchmark scripts: the number of rounds, and the place for their figures."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support.figures import (
    Figure,
    text_table,
)

ROOT = Path(__file__).resolve().parents[3]
# The Python of the hosts. Distributions install pyroute2 for it.
HOST_PYTHON = "/usr/bin/python3"
_FIGURES = "BENCH_FIGURES"


def rounds(default: int) -> int:
    """Return the number of rounds, which is BENCH_ROUNDS if that is set."""
    return int(os.environ.get("BENCH_ROUNDS", default))


def is_short() -> bool:
    """Tell whether the run has one round. Then a script measures less if its round takes minutes."""
    return rounds(0) == 1


def finish(figures: Sequence[Figure]) -> None:
    """Print figures, and write them to the file that run.py reads."""
    print(text_table(figures))
    if path := os.environ.get(_FIGURES):
        content = json.dumps([figure.to_json() for figure in figures])
        Path(path).write_text(content, encoding="utf-8")


def end_by_exception() -> None:
    """Make SIGTERM raise an exception, so that the script removes what it has set up."""
    signal.signal(signal.SIGTERM, lambda *_given: sys.exit("ended by a signal"))


def say(text: str) -> None:
    """Tell a person who waits what the script does now."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def environment(figures: Path) -> dict[str, str]:
    """Return the environment in which run.py runs a script."""
    return {**os.environ, _FIGURES: str(figures)}


def plain_environment() -> dict[str, str]:
    """Return this process's environment without the variables that change Python.

    The measured programs would get these variables, and no login on a host has them. PYTHONUNBUFFERED alone costs 0.45 ms
    for each KiB of a module's payload, because Python then reads its script from the pipe byte by byte.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON")
    }
