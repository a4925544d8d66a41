# Copyright (c) 2026, virtaudit contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does work in forked children, which send their answers through a pipe, in order.

A ``ProcessPoolExecutor`` is slower because of its queues and its thread: it scans 500 MB on two cores in 0.26
to 0.43 s, and these children do it in 0.20 s. Threads take 0.29 s, because they wait for the interpreter lock
while the parent judges the lines that they found.

A child is also the place for a library that may end its process.
"""

from __future__ import annotations

import marshal
import os
import typing as t

CHILDREN = 2
# Each answer begins with its length.
_SIZE_BYTES = 8

# The types that marshal can write: plain values, and no classes.
Answer = list[t.Any]
Work = t.Callable[[int], Answer]


def spread(work: Work, count: int) -> t.Iterator[Answer]:
    """Yield ``work(0)``, ``work(1)`` and so on up to ``count``, which children compute in the background.

    A child waits while its pipe is full, so that memory stays flat. Raises :class:`OSError` if ``work`` raises
    it, and if a child ends before its work is done. So no answer is ever left out.
    """
    children: list[_Child] = []
    try:
        for number in range(min(CHILDREN, count)):
            mine = range(number, count, CHILDREN)
            children.append(_Child(work, mine, children))
        for index in range(count):
            yield children[index % CHILDREN].answer()
    finally:
        # A child that still works ends when it finds its pipe closed.
        for child in children:
            child.end()


class _Child:
    def __init__(
        self, work: Work, indexes: t.Iterable[int], others: t.Iterable[_Child]
    ) -> None:
        """Fork. Raises :class:`OSError`."""
        reading, writing = os.pipe()
        self._pipe = os.fdopen(reading, "rb")
        try:
            with open(writing, "wb") as pipe:
                self._pid = os.fork()
                if not self._pid:
                    for each in (self, *others):
                        each._pipe.close()
                    _serve(pipe, work, indexes)
        except BaseException:
            self._pipe.close()
            raise

    def answer(self) -> Answer:
        """Return the next answer. Raises :class:`OSError`."""
        size = int.from_bytes(self._read(_SIZE_BYTES), "big")
        answer = marshal.loads(self._read(size))  # noqa: S302 # our own child wrote it
        if isinstance(answer, str):
            raise OSError(answer)
        return t.cast(Answer, answer)

    def _read(self, size: int) -> bytes:
        content = self._pipe.read(size)
        if len(content) < size:
            raise OSError("a child process of the task ended before it was done")
        return content

    def end(self) -> None:
        """Let the child end, and wait for its end."""
        self._pipe.close()
        os.waitpid(self._pid, 0)


def _serve(pipe: t.IO[bytes], work: Work, indexes: t.Iterable[int]) -> t.NoReturn:
    """Do a child's work, and end without running the parent's exit handlers."""
    status = 1
    try:
        for index in indexes:
            try:
                answer: Answer | str = work(index)
            except OSError as exc:
                answer = str(exc)
            content = marshal.dumps(answer)
            pipe.write(len(content).to_bytes(_SIZE_BYTES, "big") + content)
            pipe.flush()
        status = 0
    finally:
        os._exit(status)
