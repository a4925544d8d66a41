# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps the answers of hosts on the controller until the report is made."""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

from .whole import written_whole

_NAME = "virtaudit-answers"


def answers_directory(temporary: str) -> Path:
    """Return the directory of the answers. Ansible removes the directory above it after the run."""
    return Path(temporary, _NAME)


def answer_name(host: str) -> str:
    """Return the name of a host's file. It is a hash, because a host can have a name that no file can have."""
    digest = hashlib.sha256(host.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{digest}.json"


def keep_answer(directory: Path, host: str, answer: t.Mapping[str, t.Any]) -> int:
    """Write what a host answered, and return the size. Only this user can read it. Raises :class:`OSError`."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / answer_name(host)
    with written_whole(str(path), 0o600) as out:
        out.write(json.dumps(answer))
    return path.stat().st_size


def forget_answers(directory: Path, hosts: t.Iterable[str]) -> None:
    """Remove the answers of these hosts."""
    for host in hosts:
        (directory / answer_name(host)).unlink(missing_ok=True)
