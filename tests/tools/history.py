# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps how long the runs of the layers took on this machine, as one JSON line for each run, so that a slowdown shows.

A line has ``time`` (seconds since the epoch), ``commit`` and ``layers``: for each layer the outcome, the seconds and
the slowest parts.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any


def path() -> Path:
    """Return the machine's file. It is outside of the checkout, so that a fresh clone is compared, too."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "virtaudit" / "layers.jsonl"


def last_seconds() -> dict[str, int]:
    """Return for each layer the seconds of the newest run that passed."""
    found: dict[str, int] = {}
    if path().exists():
        for line in path().read_text(encoding="utf-8").splitlines():
            layers = json.loads(line)["layers"]
            found.update(
                {
                    name: each["seconds"]
                    for name, each in layers.items()
                    if not each["failed"] and not each["problems"]
                }
            )
    return found


def add(layers: dict[str, Any]) -> None:
    """Add a run's outcomes."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, stdout=subprocess.PIPE, text=True, check=False)
    entry = {
        "time": round(time.time()),
        "commit": commit.stdout.strip(),
        "layers": layers,
    }
    path().parent.mkdir(parents=True, exist_ok=True)
    # One write, because two checkouts may end at the same time.
    with path().open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
