"""Parts over processes of this machine that may be killed, hang or fall over at any time.

Each process says every second that it lives. One that ends, or says nothing for ``timeout_s`` (it
was stopped, or a single operation holds the interpreter), is replaced, and its part is tried
again. A part that cost ``attempts`` processes ends the run: no loop of crashes goes on for ever.
A process whose parent has gone ends itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from burnish.config import process
from burnish.flow.work import Answer, Executor, Numbers, Task, WorkFailed, attempt

log = logging.getLogger(__name__)

BEAT_S = 1.0


def run(task: Task, todo: Sequence[int], executor: Executor) -> Iterator[Numbers]:
    """What the task says of each part in ``todo``, in the order in which they are finished.

    Raises:
        InputError: the task found bad input.
        WorkFailed: it failed, or its processes died too often on one part.
    """
    waiting = deque(todo)
    deaths: Counter[int] = Counter()
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < executor.workers:
                workers.append(_Worker(task, waiting.popleft()))
            wait([worker.pipe for worker in workers], timeout=BEAT_S)
            for worker in list(workers):
                answer = worker.answer()
                if answer is not None:
                    yield answer.unwrap()
                    if waiting:
                        worker.give(waiting.popleft())
                        continue
                elif not (cause := worker.trouble(executor.timeout_s)):
                    continue
                else:
                    deaths[worker.index] += 1
                    _warn_or_fail(worker.index, cause, deaths[worker.index], executor.attempts)
                    waiting.appendleft(worker.index)
                worker.end()
                workers.remove(worker)
    finally:
        for worker in workers:
            worker.end()


def _warn_or_fail(index: int, cause: str, deaths: int, attempts: int) -> None:
    if deaths >= attempts:
        raise WorkFailed(
            f"part {index}: its process {cause}, {deaths} times out of {attempts}; the parts that "
            "were finished are kept, and the same command goes on from there"
        )
    log.warning("part %d: its process %s; it is tried again", index, cause)


class _Worker:
    """A process at work on one part; ``pipe`` brings its signs of life and its answers."""

    def __init__(self, task: Task, index: int) -> None:
        # Not forked: a fork of a process with threads (Arrow's, torch's) may hang.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(task, theirs, os.getpid()), daemon=True)
        # Born with it blocked: Ctrl-C is for the parent, which then ends its workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.gone = False
        self.give(index)

    def give(self, index: int) -> None:
        """Set it to work on a part."""
        self.index = index
        self.heard = time.monotonic()
        try:
            self.pipe.send(index)
        except OSError:  # it died while idle; ``trouble`` will say so
            self.gone = True

    def answer(self) -> Answer | None:
        """Its answer, when there is one; reads the signs of life before it."""
        try:
            while not self.gone and self.pipe.poll():
                message = self.pipe.recv()
                self.heard = time.monotonic()
                if isinstance(message, Answer):
                    return message
        except (EOFError, OSError):
            self.gone = True
        return None

    def trouble(self, timeout_s: float) -> str:
        """Why nothing more is to be expected of it, empty when it may be well."""
        if self.gone or not self.process.is_alive():
            self.process.join(BEAT_S)
            return f"ended with exit code {self.process.exitcode}"
        silent = time.monotonic() - self.heard
        return f"gave no sign of life for {silent:.0f} s" if silent > timeout_s else ""

    def end(self) -> None:
        """Kill it; what it wrote is either whole or a leftover to be swept."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(task: Task, pipe: Connection, parent: int) -> None:
    """The life of a worker process."""
    process.tune()
    lock = threading.Lock()
    threading.Thread(target=_beat, args=(pipe, lock, parent), daemon=True).start()
    while True:
        try:
            index = pipe.recv()
        except EOFError:
            return
        answer = attempt(task, index)
        with lock:
            pipe.send(answer)


def _beat(pipe: Connection, lock: threading.Lock, parent: int) -> None:
    try:
        while os.getppid() == parent:
            with lock:
                pipe.send(None)
            time.sleep(BEAT_S)
    finally:  # the parent has gone, or has closed the pipe
        os._exit(1)
