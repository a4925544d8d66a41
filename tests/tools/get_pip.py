# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give ansible-test its pip bootstrap from PyPI, so that it need not download it from Ansible's own server.

get_pip.py VERSION... for each version that has none yet
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# ansible-test calls it like get-pip.py, with requirements and options for pip, and two flags of its
# own.
STUB = """\
import runpy
import sys

wheel = __file__.rsplit('/', 1)[0] + '/{wheel}'
args = [wheel if arg == 'pip=={version}' else arg for arg in sys.argv[1:] if arg not in ('--no-setuptools', '--no-wheel')]
sys.path.insert(0, wheel)
sys.argv = ['pip', 'install'] + args
runpy.run_module('pip', run_name='__main__', alter_sys=True)
"""


def provide(cache: Path, version: str) -> None:
    stub = cache / f"get_pip_{version.replace('.', '_')}.py"
    if stub.exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        f"pip=={version}",
    ]
    with tempfile.TemporaryDirectory(dir=cache) as work:
        subprocess.run([*command, "--dest", work], check=True)
        (wheel,) = Path(work).glob("pip-*.whl")
        wheel.replace(cache / wheel.name)
        new = Path(work) / stub.name
        new.write_text(STUB.format(wheel=wheel.name, version=version), encoding="utf-8")
        # This comes last and in one step, because ansible-test trusts whatever file is there.
        new.replace(stub)


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        provide(Path(os.path.expanduser("~/.ansible/test/cache")), wanted)
