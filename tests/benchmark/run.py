# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every benchmark of this directory and keeps what they measured.

    run.py [--json FILE] [--page FILE] [SCRIPT ...]

Each script is a process of its own, prints its figures and leaves the machine as it was. ``--json`` has all
samples; ``--page`` replaces the figures in a Markdown page, unless a script failed. BENCH_ROUNDS sets the
number of rounds of all of them. A script without figures for run.py has what it printed on the page.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.virtaudit.qemu.tests.benchmark.support import page, script

HERE = Path(__file__).parent
# The command that prints each program's version. The version is the first word that begins with a digit.
PROGRAMS = {
    "qemu": ["qemu-system-x86_64", "--version"],
    "libvirt": ["virsh", "--version"],
    "auditd": ["dpkg-query", "--show", "--showformat=${Version}", "auditd"],
    "Python": [script.HOST_PYTHON, "--version"],
    "pyroute2": ["dpkg-query", "--show", "--showformat=${Version}", "python3-pyroute2"],
    "ansible-core": ["ansible", "--version"],
}


def main() -> int:
    """Run the scripts that the command line asks for. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("scripts", nargs="*", type=Path)
    options = parser.parse_args()
    scripts = options.scripts or sorted(
        path for path in HERE.glob("*.py") if path != Path(__file__)
    )
    begin, here = time.monotonic(), machine()
    ran = [_run(path) for path in scripts]
    failed = [each["name"] for each in ran if each["status"]]
    given = os.environ.get("BENCH_ROUNDS")
    run = {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"make bench BENCH_ROUNDS={given}" if given else "make bench",
        "seconds": time.monotonic() - begin,
        "machine": here,
        "versions": versions(),
        "scripts": ran,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    if options.page and not failed:
        text = options.page.read_text(encoding="utf-8")
        new = page.put_in(text, page.markdown(run))
        options.page.write_text(new, encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    print(f"{len(ran) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _run(path: Path) -> dict[str, t.Any]:
    print(f"== {path.name}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        written = Path(work) / "figures.json"
        with subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=script.environment(written),
        ) as process:
            try:
                output, _nothing = process.communicate()
            except BaseException:
                # The script removes what it has set up. subprocess.run() would kill it before that.
                process.terminate()
                raise
        print(output, flush=True)
        figures = json.loads(written.read_text("utf-8")) if written.exists() else []
    return {
        "name": path.stem,
        "title": title(path.read_text(encoding="utf-8")),
        "status": process.returncode,
        "figures": figures,
        "output": output,
    }


def title(source: str) -> str:
    """Return the first line of a script's docstring."""
    described = ast.get_docstring(ast.parse(source)) or ""
    return described.partition("\n")[0].rstrip(".")


def machine() -> dict[str, str]:
    """Return a description of the machine, without its name."""
    facts = dict(_facts(Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0]))
    memory = dict(_facts(Path("/proc/meminfo").read_text("utf-8")))
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text("utf-8").splitlines()
        if "=" in line
    )
    return {
        "processors": f"{os.cpu_count()} x {facts.get('model name', platform.machine())}",
        "memory": f"{int(memory['MemTotal'].split()[0]) // 1024 // 1024} GiB",
        "load before": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        "system": release["PRETTY_NAME"].strip('"'),
        "kernel": platform.release(),
    }


def _facts(text: str) -> t.Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def versions() -> dict[str, str]:
    """Return the versions of the programs. A program that is not installed is left out."""
    return {
        name: version
        for name, command in PROGRAMS.items()
        if (version := _version(command)) is not None
    }


def _version(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    words = done.stdout.replace("[core ", " ").split()
    found = (word.rstrip("]),") for word in words if word[:1].isdigit())
    return next(found, None)


if __name__ == "__main__":
    script.end_by_exception()
    raise SystemExit(main())
