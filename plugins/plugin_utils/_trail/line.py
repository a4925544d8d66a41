# Copyright (c) 2026, virtaudit contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The form of a line in a trail file, and its seal.

A line is one JSON object. Its last member is ``event``, and the last member of ``event`` is ``hash``: the SHA-256 of
all that stands before it on the line. ``virtaudit.previous.hash`` is the ``event.hash`` of the line before.

This file needs nothing but Python, because the check of trails also runs without Ansible.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

# The first line of the first file continues this hash.
GENESIS = "0" * 64

START = "run_start"
END = "run_end"

# The name of a file is <time>-<run id>.jsonl. The order of the names is the order of the runs.
NAME = re.compile(
    r"(\d{8}T\d{6}\.\d{6}Z)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl",
    re.ASCII,
)
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\}\n', re.ASCII)
# If a run is killed while it writes a line, nothing stands after the seal. Here something does.
_SEALED = re.compile(rb',"hash":"[0-9a-f]{64}"\}\}.', re.ASCII)
_SEAL_BYTES = len(',"hash":""}}\n') + 64

# In ASCII no byte of a name from outside reaches a terminal, and lone surrogates can be written.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Document = dict[str, t.Any]
# An anchor has the name of a file, the hash of a line in it, whether this line closes the file. If its run still went on, it
# also says that.
Anchor = t.Mapping[str, t.Any]


class BrokenError(Exception):
    """A line is not what the callback wrote, or stands in another place."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


def ending(digest: str) -> bytes:
    """Return the end of a line that has this hash."""
    return b',"hash":"%s"}}\n' % digest.encode("ascii", "replace")


def seal(document: Document) -> tuple[bytes, str]:
    """Return the line of a document, with its newline, and its hash. ``event`` must be the last member."""
    body = _encode(document)[:-2].encode("ascii")
    digest = hashlib.sha256(body).hexdigest()
    return body + ending(digest), digest


def unseal(number: int, line: bytes) -> tuple[Document, str]:
    """Return the document of a line and its hash. Raises :class:`BrokenError` if the hash does not fit."""
    match = _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES))
    if match is None:
        raise BrokenError(number, "it has no hash at its end")
    if hashlib.sha256(line[: match.start()]).hexdigest().encode("ascii") != match[1]:
        raise BrokenError(number, "it was changed: its hash is that of another text")
    try:
        document = json.loads(line)
        shaped = _has_shape(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        shaped = False
    if not shaped:
        raise BrokenError(number, "it is no line of a trail")
    return document, match[1].decode("ascii")


def was_sealed(line: bytes) -> bool:
    """Tell whether a line without a newline has a seal and something after it: the callback never writes that."""
    return _SEALED.search(line) is not None


def _has_shape(document: Document) -> bool:
    """Tell whether a document can be used. Anybody can write another text with a right hash."""
    event, ours = document["event"], document["virtaudit"]
    texts = [event["action"], ours["run"]["id"], ours["previous"]["hash"]]
    texts += [document["host"]["name"], ours["controller"]["user"]]
    for anchor in anchors(document):
        texts.append(anchor["hash"])
        if NAME.fullmatch(anchor["file"]) is None:
            return False
    return isinstance(event["sequence"], int) and all(
        isinstance(text, str) for text in texts
    )


def anchors(document: Document) -> list[Anchor]:
    """Return the lines of other files that the first line of a file continues. They show if those files change later."""
    previous = document["virtaudit"]["previous"]
    if previous.get("file") is None:
        return []
    return [previous, *previous.get("also", ())]


def is_state(document: Document, action: str) -> bool:
    """Tell whether a line is about the run itself. The action of a record comes from the host."""
    event = document["event"]
    return (event["action"], event.get("kind")) == (action, "state")
