# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packs modules of this collection into a zipapp, which is a program that outlives the task.

Ansible removes its own payload when the task ends. Source: Python's ``zipapp``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pkgutil
import sys
import typing as t
import zipfile

PACKAGE = __name__.rpartition(".")[0]
# The name of this package in the zipapp, which does not need Ansible's long path to it.
_NAME = "virtaudit"
# The first time that a zip file can hold. Equal sources must give equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(main: str) -> bytes:
    """Return a zipapp that calls ``main()`` of a module of this package, and exits with the value that it returns.

    It holds all modules of this package that came with the task.
    """
    package = sys.modules[PACKAGE]
    files = {f"{_NAME}/__init__.py": b""}
    files["__main__.py"] = (
        f"import sys\nfrom {_NAME}.{main} import main\nsys.exit(main())\n".encode()
    )
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        path = found.name[len(PACKAGE) + 1 :].replace(".", "/")
        suffix = "/__init__.py" if found.ispkg else ".py"
        files[f"{_NAME}/{path}{suffix}"] = _source_of(found.name)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.writestr(
                zipfile.ZipInfo(path, _EPOCH), files[path], zipfile.ZIP_DEFLATED
            )
    return content.getvalue()


def _source_of(name: str) -> bytes:
    """Return a module's source, from Ansible's payload or from a directory."""
    spec = importlib.util.find_spec(name)
    loader: t.Any = spec and spec.loader
    source: str | bytes = loader.get_source(name) or b""
    # Ansible's own loader of collections returns bytes.
    return source.encode("utf-8") if isinstance(source, str) else source


def name_of(content: bytes) -> str:
    """Return the file name of a zipapp: its content's hash."""
    return f"{hashlib.sha256(content).hexdigest()[:32]}.pyz"
