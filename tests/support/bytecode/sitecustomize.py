# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a Python that runs Ansible's modules keep their bytecode for the next task, as on a virtual hypervisor.

A Python whose PYTHONPATH begins with this directory imports this file. It keeps the bytecode below the tests' output,
where ansible-test keeps the files of one run.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))

sys.path.append(
    f"{_ROOT}/extensions/molecule/image/rootfs/usr/lib/python3/dist-packages"
)
_bytecode = vars(__import__("molecule_bytecode"))
_bytecode["CACHE"] = f"{_ROOT}/tests/output/.tmp/bytecode"
del sys.path[-1]
# Programs that the module starts get the same environment as without this file.
os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].partition(os.pathsep)[2]
if not os.environ["PYTHONPATH"]:
    del os.environ["PYTHONPATH"]
