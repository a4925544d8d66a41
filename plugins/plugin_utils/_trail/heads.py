# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The head of a trail file, for places that a writer of the file cannot change.

This file needs nothing but Python, because the check of trails also runs without Ansible.
"""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from .printable import printable

# The lines have this tag in syslog and in the journal.
TAG = "virtaudit-trail"
# A signature of ssh-keygen(1) is for one purpose, and does not count for another.
NAMESPACE = "virtaudit-trail"

_LINE = re.compile(
    r"lines=(\d{1,12}) head=([0-9a-f]{64}) run=([0-9a-f-]{36}) file=(.+?)\s*$",
    re.ASCII | re.MULTILINE,
)
# A person needs some time to touch a hardware key.
_SECONDS = 60


class HeadError(Exception):
    """A head cannot be signed, checked or read."""


class Head(t.NamedTuple):
    """How a file ended: the number of its lines, and the hash of the last line. ``file`` is its path."""

    lines: int
    head: str
    run: str
    file: str

    def text(self) -> str:
        """Return the head as one line."""
        return f"lines={self.lines} head={self.head} run={self.run} file={printable(self.file)}"


def parse_heads(text: str) -> list[Head]:
    """Return all heads in a text. Anything may stand before them on their lines."""
    return [
        Head(int(match[1]), match[2], match[3], match[4])
        for match in _LINE.finditer(text)
    ]


def read_heads(source: str) -> list[Head]:
    """Read the heads in a file, or those in this machine's journal if ``source`` is ``journal``. Raises :class:`HeadError`."""
    if source == "journal":
        command = ["journalctl", "--no-pager", "--output=cat", f"--identifier={TAG}"]
        done = _run(command, b"")
        if done.returncode:
            raise HeadError(f"the journal cannot be read: {_said(done)}")
        text = done.stdout.decode("utf-8", "replace")
    else:
        try:
            with open(source, encoding="utf-8", errors="replace") as handle:
                text = handle.read()
        except OSError as exc:
            raise HeadError(f"{source} cannot be read: {exc.strerror}") from exc
    heads = parse_heads(text)
    if not heads:
        raise HeadError(f"there is no head of a trail in {source}")
    return heads


def sign(key: str, head: str) -> bytes:
    """Return an SSH signature of a head. ``key`` is the file of a private key, or of a public key whose private key an agent has.

    Raises :class:`HeadError`.
    """
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE]
    done = _run(command, _signed(head))
    if done.returncode or not done.stdout:
        raise HeadError(f"the head cannot be signed with {key}: {_said(done)}")
    return done.stdout


def check_signature(signers: str, signature: str, head: str) -> str:
    """Return who signed a head. Raises :class:`HeadError` if nobody of the allowed-signers file did."""
    if not os.path.isfile(signature):
        raise HeadError("it has no signature")
    known = ("-f", signers, "-s", signature)
    done = _run(["ssh-keygen", "-q", "-Y", "find-principals", *known], b"")
    who = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode or not who:
        raise HeadError(f"its signature is of nobody in {signers}")
    done = _run(
        ["ssh-keygen", "-q", "-Y", "verify", "-n", NAMESPACE, "-I", who[0], *known],
        _signed(head),
    )
    if done.returncode:
        raise HeadError("its signature is of another head")
    return who[0]


def _signed(head: str) -> bytes:
    return f"{head}\n".encode("ascii")


def _run(command: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command, input=data, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise HeadError(f"{command[0]} cannot be run: {exc}") from exc


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    text = done.stderr.decode("utf-8", "replace").strip()
    return text or f"it ended with status {done.returncode}"
