# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Talks to Open vSwitch's database: runs transactions, and waits until the switch has applied them.

Sources: RFC 7047, the Open vSwitch database management protocol; ``ovs-vswitchd.conf.db(5)``. A call of
ovs-vsctl(8) takes 30 ms, and Python's IDL takes 280 ms to start. A transaction on the socket takes half a
millisecond.
"""

from __future__ import annotations

import codecs
import json
import os
import socket
import time
import typing as t

from .._errors import LinkError
from .._proc import Process

RUN_DIR = "/run/openvswitch"
# The path of the database. The file also exists while no server runs.
_FILES = ("/etc/openvswitch/conf.db", "/var/lib/openvswitch/conf.db")
_SCHEMA = "Open_vSwitch"
_ROOT = "Open_vSwitch"
# How long the switch may take to apply a change, how long the database waits for the switch before it answers, and how
# long an answer may take.
_SECONDS = 5.0
_STEP_SECONDS = 1.0
_REPLY_SECONDS = 5.0

Operation = dict[str, t.Any]
Row = dict[str, t.Any]


def is_installed() -> bool:
    """Tell whether this host has a database of Open vSwitch, whether or not a server runs."""
    there = [_socket_path(), *_FILES]
    return any(map(os.path.exists, there)) or switch_runs()


def require_switch() -> None:
    """Require that the database server and the switch run. Raises :class:`LinkError`."""
    if not os.path.exists(_socket_path()):
        raise LinkError(
            f"Open vSwitch's database does not answer, because there is no {_socket_path()}; start it ('systemctl "
            "start openvswitch-switch' on Debian)"
        )
    if not switch_runs():
        raise LinkError(
            "ovs-vswitchd does not run, so a port would pass nothing; start it ('systemctl start openvswitch-switch'"
            " on Debian)"
        )


def rows_of(table: str, columns: t.Sequence[str], **where: str) -> Operation:
    """Return the operation that selects rows of a table by the values of their columns."""
    conditions = [[name, "==", value] for name, value in where.items()]
    return {
        "op": "select",
        "table": table,
        "where": conditions,
        "columns": [*columns],
    }


def select(*questions: Operation) -> list[list[Row]]:
    """Return the rows for each question as Python values. All are from the same moment. Raises :class:`LinkError`."""
    return _select(questions)


def _select(operations: t.Sequence[Operation]) -> list[list[Row]]:
    return [
        [
            {name: plain(value) for name, value in row.items()}
            for row in result.get("rows", ())
        ]
        for result in _transact(operations)
    ]


class RefusedError(LinkError):
    """The database refused a transaction, and changed nothing."""

    def __init__(self, error: str, details: str) -> None:
        """Make the message from ``details``. ``error`` is the protocol's word for the error."""
        super().__init__(f"Open vSwitch's database refused a change: {details}")
        # The transaction waited for a condition, and the condition did not become true in time.
        self.timed_out = error == "timed out"


def require_none(table: str, **where: str) -> Operation:
    """Return the operation that makes the database refuse a transaction if a table has such a row."""
    return _wait(rows_of(table, [*where], **where), "==", [], 0.0)


def write(operations: t.Sequence[Operation]) -> None:
    """Make one transaction, and do not wait until the switch has applied it. Raises :class:`LinkError`."""
    _transact(operations)


def change(operations: t.Sequence[Operation], *questions: Operation) -> list[list[Row]]:
    """Make one transaction, and wait until the switch has applied it. Return the rows of the questions after that.

    Raises :class:`LinkError`, or :class:`RefusedError` if the database changed nothing.
    """
    more: list[Operation] = [
        {
            "op": "mutate",
            "table": _ROOT,
            "where": [],
            "mutations": [["next_cfg", "+=", 1]],
        },
        rows_of(_ROOT, ["next_cfg", "cur_cfg"]),
    ]
    root = _transact([*operations, *more])[-1]["rows"][0]
    wanted, current = root["next_cfg"], root["cur_cfg"]
    asked, deadline = rows_of(_ROOT, ["cur_cfg"]), time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        # The database answers when the switch says that it has done something.
        wait = _wait(asked, "!=", [{"cur_cfg": current}], _STEP_SECONDS)
        try:
            (root,), *answers = _select([wait, asked, *questions])[1:]
        except RefusedError as exc:
            if exc.timed_out:
                continue
            raise
        current = root["cur_cfg"]
        if current >= wanted:
            return answers
    raise LinkError(
        f"ovs-vswitchd did not apply a change within {_SECONDS:g} s; see its log"
    )


def _wait(
    question: Operation, until: str, rows: list[Row], seconds: float
) -> Operation:
    """Return the operation that waits until the answer to a question is, or is no longer, these rows."""
    more = {"op": "wait", "until": until, "rows": rows, "timeout": int(seconds * 1000)}
    return {**question, **more}


def as_map(values: t.Mapping[str, str]) -> list[t.Any]:
    """Return a map in the protocol's form."""
    return ["map", [[name, value] for name, value in sorted(values.items())]]


def as_set(values: t.Iterable[t.Any]) -> list[t.Any]:
    """Return a set in the protocol's form."""
    return ["set", [*values]]


def plain(value: t.Any) -> t.Any:
    """Return a value of the protocol as a Python value: sets as lists, maps as dicts, a UUID as its text."""
    if isinstance(value, list) and len(value) == 2:
        kind, content = value
        if kind == "set":
            return [plain(each) for each in content]
        if kind == "map":
            return {plain(name): plain(each) for name, each in content}
        if kind in ("uuid", "named-uuid"):
            return content
    return value


def as_list(value: t.Any) -> list[t.Any]:
    """Return the values of a column as a list. The protocol writes a set with one value as that value."""
    return value if isinstance(value, list) else [value]


def _socket_path() -> str:
    return f"{RUN_DIR}/db.sock"


def switch_runs() -> bool:
    """Tell whether ovs-vswitchd runs."""
    try:
        with open(f"{RUN_DIR}/ovs-vswitchd.pid", encoding="ascii") as handle:
            process = Process.of(int(handle.read()))
    except (OSError, ValueError):
        return False
    return process is not None and process.is_alive()


def _transact(operations: t.Sequence[Operation]) -> list[t.Any]:
    request = {"method": "transact", "params": [_SCHEMA, *operations], "id": 0}
    try:
        reply = _call(json.dumps(request).encode("utf-8"))
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise LinkError(
            f"Open vSwitch's database ({_socket_path()}) does not answer: {reason or exc}; is openvswitch-switch"
            " running?"
        ) from exc
    if reply.get("error"):
        raise LinkError(f"Open vSwitch's database refused a request: {reply['error']}")
    results: list[t.Any] = reply["result"]
    for result in results:
        if result and "error" in result:
            error = result["error"]
            raise RefusedError(error, result.get("details") or error)
    return results


def _call(request: bytes) -> dict[str, t.Any]:
    """Send a request and return its reply. Meanwhile the server may ask whether this client still lives."""
    decoder = json.JSONDecoder()
    # A part of the reply may end within a character.
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_REPLY_SECONDS)
        connection.connect(_socket_path())
        connection.sendall(request)
        text = ""
        while True:
            data = connection.recv(65536)
            if not data:
                raise ValueError("it closed the connection")
            text += characters.decode(data)
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                if message.get("method") == "echo":
                    answer = {"result": message["params"], "error": None}
                    answer["id"] = message["id"]
                    connection.sendall(json.dumps(answer).encode("utf-8"))
                elif message.get("id") == 0:
                    return t.cast("dict[str, t.Any]", message)
