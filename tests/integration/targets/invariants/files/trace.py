# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads strace's output about tasks, and prints JSON. Usage: trace.py FILE

``opens`` has each open of a network device, such as ``/dev/net/tun success``. ``order`` has the steps in order:
``open``, ``sent`` (an open record), ``confirmed`` (the kernel's echo of such a record), ``passed`` (a fd to a monitor)
and ``start`` (of qemu). ``touched`` has the paths below /run/virtaudit that were made or written. ``tasks`` is the
number of tasks.
"""

from __future__ import annotations

import json
import re
import sys

DEVICE = re.compile(
    r'open(?:at2?)?\((?:AT_FDCWD, )?"(/dev/(?:net/tun|tap\d+|vhost-net))".*\) = (-?\d+)'
)
TOUCH = re.compile(
    r'(?:mkdir|rename|unlink|creat)\("/run/virtaudit|openat\([^"]*"/run/virtaudit[^"]*", \S*(?:O_WRONLY|O_RDWR|O_CREAT)'
)
FORK = re.compile(r"v?fork\(|clone\(")
# strace writes the bytes from the kernel in hexadecimal, and the bytes to the kernel as text.
ECHO = "".join(f"\\x{byte:02x}" for byte in b"reason=open")


def main(path: str) -> None:
    opens, order, touched = [], [], []
    tasks = 0
    # qemu inherits the monitor's socket, so it is the next child.
    bound = False
    with open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle:
            device = DEVICE.search(line)
            if device is not None:
                good = int(device[2]) >= 0
                opens.append(f"{device[1]} {'success' if good else 'failed'}")
                order.append("open")
            elif "sendto(" in line and "reason=open" in line:
                order.append("sent")
            elif "recvfrom(" in line and (ECHO in line or "reason=open" in line):
                order.append("confirmed")
            elif "SCM_RIGHTS" in line:
                order.append("passed")
            elif "bind(" in line and "/run/virtaudit/" in line:
                bound = True
            elif bound and FORK.match(line):
                order.append("start")
                bound = False
            elif TOUCH.search(line):
                touched.append(line.strip())
            elif line.startswith("+++ exited"):
                tasks += 1
    result = {"opens": opens, "order": order, "touched": touched, "tasks": tasks}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
