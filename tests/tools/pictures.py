# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the pictures of README.md: what the callback prints after the demo, and the report of two hosts.

    pictures.py DIRECTORY       as root, with ansible-playbook and Debian's chromium on PATH

The report shows the records of the demo, and the libvirt records that the unit tests keep, moved to
the same hour.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "playbooks/demo.yml"
LIBVIRT = ROOT / "tests/unit/fixtures/libvirt-9.0.0-records.log"
LICENSE = ROOT / "changelogs/changelog.yaml.license"
TIME = re.compile(r"(?<=audit\()(\d+)(?=\.)")
TERMINAL = """\
<!doctype html><meta charset="utf-8"><title>-</title>
<style>body {{ margin: 0; background: #1b1e24 }} pre {{ margin: 16px; font: 14px/1.4 monospace; color: #e6e6e6 }}</style>
<pre>{}</pre>
"""


def play(*arguments: str, **environment: str) -> str:
    """Return what ansible-playbook printed, with the callback's table last. Raises CalledProcessError if it failed."""
    command = ["ansible-playbook", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        done.check_returncode()
    return done.stdout


def run_demo(work: Path) -> str:
    """Return the table that the callback prints at the end of the demo."""
    printed = play(
        *("--inventory=localhost,", "--connection=local"),
        *("--extra-vars", json.dumps({"ansible_python_interpreter": sys.executable})),
        str(DEMO),
        ANSIBLE_CALLBACKS_ENABLED="virtaudit.qemu.audit_trail",
        VIRTAUDIT_TRAIL_DIR=str(work / "trail"),
    )
    return printed[printed.index("AUDIT TRAIL") :].rstrip().replace(f"{work}/", "")


def read_demo(log: Path, began: float) -> int:
    """Write the records of this demo into a log of their own, because a tester's log has more.

    Return the time of the first.
    """
    uuid = re.search(r"demo_uuid: (\S+)", DEMO.read_text(encoding="utf-8"))
    if uuid is None:
        raise SystemExit(f"{DEMO} has no demo_uuid")
    command = ("ausearch", "--input-logs", "--raw", "--uuid", uuid[1])
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    lines = [
        (int(at[1]), line)
        for line in found.split("\n")
        if (at := TIME.search(line)) and int(at[1]) >= int(began)
    ]
    log.write_text("".join(f"{line}\n" for _at, line in lines), encoding="utf-8")
    return min(at for at, _line in lines)


def move_libvirt(log: Path, began: int) -> None:
    """Write libvirt's records as if they began at the given time, so that one time line shows both hosts."""
    text = LIBVIRT.read_text(encoding="utf-8")
    late = began - min(int(at[1]) for at in TIME.finditer(text))
    log.write_text(TIME.sub(lambda at: str(int(at[1]) + late), text), encoding="utf-8")


def write_report(work: Path, began: float) -> Path:
    """Return the page of the report on the demo's host and one of libvirt's."""
    logs = [work / "hv1.log", work / "kvm1.log"]
    first = read_demo(logs[0], began)
    move_libvirt(logs[1], first)
    local = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }
    hosts = {
        "hv1.example.org": {"audit_report_logs": [str(logs[0])]},
        "kvm1.example.org": {"audit_report_logs": [str(logs[1])]},
    }
    inventory = work / "hosts.json"
    inventory.write_text(json.dumps({"hypervisors": {"hosts": hosts, "vars": local}}))
    play(
        *("--inventory", str(inventory), "virtaudit.qemu.audit_report"),
        "--extra-vars",
        json.dumps(
            {
                "audit_report_verify": False,
                "audit_report_since": str(first),
                # When the VMs of both hosts hold their NICs.
                "audit_report_until": str(first + 7),
                "audit_report_dest": str(work / "report"),
            }
        ),
    )
    return work / "report/audit_report.html"


def photograph(page: Path, picture: Path, width: int, height: int) -> None:
    """Write a picture of a page, and its licence."""
    subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", f"--window-size={width},{height}"),
            # blink::mojom::PreferredColorScheme: light
            "--blink-settings=preferredColorScheme=1",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    shutil.copyfile(LICENSE, picture.with_name(f"{picture.name}.license"))
    print(f"{picture}: {picture.stat().st_size // 1024} KiB")


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        work, began = Path(made), time.time()
        table = run_demo(work)
        terminal = work / "terminal.html"
        terminal.write_text(TERMINAL.format(html.escape(table)), encoding="utf-8")
        lines = table.splitlines()
        columns = max(map(len, lines))
        photograph(
            terminal,
            directory / "audit_trail.png",
            32 + round(columns * 8.5),
            32 + len(lines) * 20,
        )
        page = write_report(work, began)
        photograph(page, directory / "audit_report.png", 1200, 2200)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
