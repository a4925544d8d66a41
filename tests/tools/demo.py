# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the demo.

Print each of its steps while it runs, and at the end the page that it has written. .cache/demo.log keeps
everything that Ansible prints.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / ".cache/demo.log"
PAGE = ROOT / ".cache/demo.txt"
PLAYBOOK = ROOT / "playbooks/demo.yml"
_TASK = re.compile(r"TASK \[(?P<name>.+)\] \*+")
_NAME = re.compile(r"^ +- name: (.+)$", re.M)
_QUIET_SECONDS = 10


def command() -> list[str]:
    return [
        *("ansible-playbook", "-i", "localhost,", "-c", "local"),
        *("-e", f"ansible_python_interpreter={sys.executable}"),
        *("-e", f"demo_page_file={PAGE}"),
        str(PLAYBOOK),
    ]


def lines_of(stream: t.IO[str]) -> t.Iterator[str | None]:
    """Yield each line as it comes, and ``None`` if none has come for a while."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=_QUIET_SECONDS)
        except queue.Empty:
            yield None
            continue
        if line == "":
            return
        yield line


def follow(stream: t.IO[str], log: t.IO[str]) -> None:
    """Write everything to the log. Print the tasks of the playbook itself, and other tasks that take long."""
    steps = set(_NAME.findall(PLAYBOOK.read_text(encoding="utf-8")))
    began = printed = time.monotonic()
    name = "Start"
    for line in lines_of(stream):
        now = time.monotonic()
        task = None
        if line is not None:
            log.write(line)
            log.flush()
            task = _TASK.match(line)
        name = task["name"] if task else name
        if not (task and name in steps) and now - printed < _QUIET_SECONDS:
            continue
        print(f"{now - began:4.0f} s  {name}", flush=True)
        printed = now


def main() -> int:
    """Run the demo. Return ansible-playbook's exit status."""
    LOG.parent.mkdir(exist_ok=True)
    PAGE.unlink(missing_ok=True)
    print(f"What Ansible prints goes to {LOG.relative_to(ROOT)}.")
    environment = {
        **os.environ,
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as demo,
    ):
        follow(t.cast("t.IO[str]", demo.stdout), log)
    if demo.returncode == 0:
        print()
        print(PAGE.read_text(encoding="utf-8"), end="")
        return 0
    text = LOG.read_text(encoding="utf-8")
    failed = text.find("fatal: ")
    print(
        text[max(0, text.rfind("TASK [", 0, failed)) :][:3000]
        if failed >= 0
        else text[-3000:]
    )
    print(
        f"The demo failed, and has removed what it made. {LOG.relative_to(ROOT)} has all that Ansible printed."
    )
    return demo.returncode


if __name__ == "__main__":
    sys.exit(main())
