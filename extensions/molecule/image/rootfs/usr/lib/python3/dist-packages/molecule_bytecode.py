# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the bytecode of what Python imports from zip files, as it does of what it imports from directories.

Ansible sends each module in a zip file: its 11,000 lines are compiled for every task, over a third of a
module's processor time.
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Not at each start of Python.
    from types import CodeType

CACHE = "/var/cache/molecule"
_compile = zipimport._compile_source  # type: ignore[attr-defined]


def compile_source(pathname: str, source: bytes) -> CodeType:
    """As zipimport's. The bytecode is known by the hash of its source."""
    code: CodeType
    path = f"{CACHE}/{_imp.source_hash(0, source).hex()}"
    try:
        with open(path, "rb") as file:
            code = marshal.load(file)  # noqa: S302 - root wrote it
    except (OSError, EOFError, ValueError, TypeError):
        code = _compile(pathname, source)
        keep(path, code)
    else:
        _imp._fix_co_filename(code, pathname)  # type: ignore[attr-defined]
    return code


def keep(path: str, code: CodeType) -> None:
    """Only root can: others read it or do without."""
    new = f"{path}.{os.getpid()}"
    try:
        os.makedirs(CACHE, mode=0o755, exist_ok=True)
        with open(new, "wb") as file:
            marshal.dump(code, file)
        os.replace(new, path)
    except OSError:
        pass


zipimport._compile_source = compile_source  # type: ignore[attr-defined]
