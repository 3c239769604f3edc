"""The processes of one program: joining them, agreeing on what comes next, noticing that one is gone.

jax.distributed is the engine. It connects the processes, counts their heartbeats in C++, and keeps a small store of
keys and values, which is all that is used here. Arrays never pass through it.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import jax

from ..ir.errors import ArgumentError, ProcessError
from . import pjrt

#: Seconds that this process has to end by itself, once another one is gone.
GRACE = 20
#: Seconds between two looks at the others, and of one wait for a key.
_LOOK = 1.0
#: Seconds that a process which is through waits for the others, as ``jax.distributed`` does.
_LEAVE = 300
#: Seconds that are left when process 0 is gone; see :class:`_Abort`.
_LAST_SECONDS = 3
#: How XLA's errors begin that no other process can be the cause of.
_OWN_FAULTS = ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND")
_ROOT = "lamina"


class Group:
    """This process among those of the program; made by :func:`join`.

    Attributes:
        index, count: which one it is, and how many there are.
        gone: the message that says which process is gone; None while all are there.
    """

    def __init__(self, client: Any, index: int, count: int, patience: float, abort: _Abort) -> None:
        self.index = index
        self.count = count
        self.gone: str | None = None
        self._client = client
        self._patience = patience  # seconds after which a process that is gone is sure to be found out
        self._abort = abort  # kept, as its function is called for as long as this process lives
        self._agreements = 0
        self._names = [f"process {i} of {count}" for i in range(count)]
        self._dead: dict[int, str] = {}
        self._through = threading.Event()

    def meet(self, timeout: float) -> None:
        """Learn who the others are. Raises :class:`ProcessError` where they do not belong together."""
        me = {"host": socket.gethostname(), "pid": os.getpid(), "count": self.count}
        try:
            self._client.key_value_set(f"{_ROOT}/process/{self.index}", json.dumps(me))
        except jax.errors.JaxRuntimeError as error:
            raise ProcessError(
                f"there is a process with process_id={self.index} already; each of the {self.count} has its own, "
                f"from 0 to {self.count - 1}"
            ) from error
        until = time.monotonic() + timeout
        for other in range(self.count):
            found = json.loads(self._wait(f"process/{other}", until, f"process {other} of {self.count} to start"))
            if found["count"] != self.count:
                raise ProcessError(
                    f"num_processes is {self.count} in process {self.index} and {found['count']} in process {other}; "
                    "start all with the same number"
                )
            self._names[other] = f"process {other} of {self.count} (host {found['host']}, pid {found['pid']})"
        threading.Thread(target=self._watch, name="lamina-processes", daemon=True).start()
        atexit.register(self._leave)

    # The store

    def _get(self, key: str, seconds: float = _LOOK) -> str | None:
        """A value, or None where nobody wrote it within some time."""
        try:
            found: str = self._client.blocking_key_value_get(f"{_ROOT}/{key}", int(seconds * 1000))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" in str(error):
                return None
            raise
        return found

    def _wait(self, key: str, until: float, what: str) -> str:
        while (found := self._get(key)) is None:
            self.check()
            if time.monotonic() > until:
                raise ProcessError(f"waited in vain for {what}; is it running, with the same addresses?")
        return found

    # Agreement

    def exchange(self, what: str, value: Any) -> list[Any]:
        """The values of all processes, in order. All have to call it, for the same thing.

        Args:
            what: what it is for, in the words of messages.
            value: plain data.

        Raises:
            ProcessError: another process is gone, has ended, or is at something else.
        """
        self.check()
        number, self._agreements = self._agreements, self._agreements + 1
        mine = json.dumps([what, value])
        result = f"agree/{number}"
        try:
            if self.index:
                self._client.key_value_set(f"{_ROOT}/{result}/{self.index}", mine)
                found = self._await(result, what, 0)
            else:
                others = [self._await(f"{result}/{i}", what, i) for i in range(1, self.count)]
                found = json.dumps([mine, *others])
                self._client.key_value_set(f"{_ROOT}/{result}", found)
                self._client.key_value_delete(f"{_ROOT}/agree/{number - 2}")  # a directory: the values with it
        except jax.errors.JaxRuntimeError as error:
            self.blame(error)
        places, values = zip(*map(json.loads, json.loads(found)), strict=True)
        if len(set(places)) > 1:
            raise ProcessError(f"the processes do different things: {self._apart(places)}")
        return list(values)

    def agree(self, what: str, value: Mapping[str, Any], advice: str) -> None:
        """Make sure that all processes have the same value. All have to call it.

        Raises :class:`ProcessError`, which names the entries that differ, in every process.
        """
        values = self.exchange(what, dict(value))
        for name in values[0]:
            self._compare(f"{what}: the processes differ in {name}", [each[name] for each in values], advice)

    def _compare(self, message: str, values: Sequence[Any], advice: str) -> None:
        if all(value == values[0] for value in values):
            return
        if all(isinstance(value, dict) for value in values):
            for key in dict.fromkeys(key for value in values for key in value):
                self._compare(f"{message} {key!r}", [value.get(key, "none") for value in values], advice)
        raise ProcessError(f"{message}: {self._apart(values)}. {advice}")

    def _apart(self, values: Sequence[Any]) -> str:
        """Each value with the processes that have it."""
        groups: dict[str, list[int]] = {}
        for i, value in enumerate(values):
            groups.setdefault(str(value), []).append(i)
        return "; ".join(f"process {', '.join(map(str, who))}: {value}" for value, who in groups.items())

    def _await(self, key: str, what: str, other: int) -> str:
        """The part of another process in an agreement. It may take its time, as long as it is there."""
        start, told = time.monotonic(), False
        while (found := self._get(key)) is None:
            self.check()
            left = self._left().get(other)
            if left is not None and (found := self._get(key)) is None:
                raise ProcessError(
                    f"{self._names[other]} has ended{left}, while {self._names[self.index]} is at {what}"
                )
            if found is not None:
                break
            if not told and time.monotonic() - start > 60:
                told = True
                _tell(f"{self._names[self.index]} has waited for {self._names[other]} for a minute, at {what}")
        return found

    def _left(self) -> dict[int, str]:
        """The processes that ended by themselves, and what each says about it."""
        entries = self._client.key_value_dir_get(f"{_ROOT}/left/")
        return {int(key.rsplit("/", 1)[1]): value for key, value in entries}

    # Who is gone

    def check(self) -> None:
        """Raise :class:`ProcessError` where another process is gone."""
        if self.gone is not None:
            raise ProcessError(self.gone)

    def blame(self, error: Exception) -> NoReturn:
        """Raise for an error that a process which is gone may have caused: find out which one it is, or raise it."""
        until = time.monotonic() + self._patience
        while self.gone is None and time.monotonic() < until:
            time.sleep(_LOOK / 10)
        if self.gone is not None:
            raise ProcessError(self.gone) from error
        raise error

    def _watch(self) -> None:
        """Look who is there, until one is gone: then have this process end."""
        while not self._through.is_set():
            try:
                alive = self._client.get_live_nodes(list(range(self.count)))  # all that send heartbeats
                left = self._left()
            except jax.errors.JaxRuntimeError:
                return  # process 0 is gone, for which jax ends this process
            failed = {i: why for i, why in left.items() if why and i != self.index}
            self._dead = {i: "" for i in range(self.count) if i not in alive and i not in left}
            if failed or self._dead:
                self.lose(failed | self._dead)
                if not self._through.wait(GRACE):
                    self._end_at_once()
                return
            self._through.wait(_LOOK)

    def lose(self, who: Mapping[int, str]) -> None:
        """Take note of processes that are gone, with what each said when it ended by itself, and tell the user."""
        said = [self._names[i] + (f" has ended{why}" if why else " is gone") for i, why in who.items()]
        self.gone = (
            f"{', '.join(said)}, so {self._names[self.index]} ends too. Start all again: BackupAndRestore goes on from "
            "its last save"
        )
        _tell(self.gone)

    def _end_at_once(self) -> None:
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        where = "".join(traceback.format_stack(main)) if main is not None else ""
        _tell(f"{self._names[self.index]} did not end by itself within {GRACE} seconds; it stood here:\n{where}")
        os._exit(1)

    # Ending

    def _leave(self) -> None:
        """Say that this process is through; if all is well, wait for the others to be. Process 0 always does, since jax
        ends those that it no longer serves."""
        failure = getattr(sys, "last_value", None)
        why = "" if failure is None else f" with {type(failure).__name__}: {str(failure)[:500]}"
        failed = self.gone is not None or failure is not None
        wait = 0 if failed and self.index else GRACE if failed else _LEAVE
        reached = True
        try:
            self._client.key_value_set(f"{_ROOT}/left/{self.index}", why)
            until = time.monotonic() + wait
            while time.monotonic() < until and not self._have_ended():
                time.sleep(_LOOK / 10)
            time.sleep(0 if self.index else _LOOK / 2)
        except jax.errors.JaxRuntimeError:
            reached = False
        self._through.set()
        if self.gone is not None or not reached:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(1)  # jax's own way out waits for those that are gone
        jax.distributed.shutdown()

    def _have_ended(self) -> bool:
        left = self._left()
        return all(i in left or i in self._dead for i in range(self.count))


_group: Group | None = None


def join(
    coordinator: str | None, count: int | None, index: int | None, timeout: float = 300, heartbeat_timeout: float = 20
) -> Group:
    """Join the processes of a program, through ``jax.distributed``, which finds out what is None on a cluster it knows.

    Args:
        coordinator: address and port of process 0.
        count: how many processes there are.
        index: which one this is, from 0.
        timeout: seconds to wait for the others.
        heartbeat_timeout: seconds without a sign of life after which a process counts as gone.

    Raises:
        ArgumentError: an argument is missing or out of range.
        ProcessError: it has joined before, jax has begun to compute, or the others can't be reached.
    """
    global _group
    if count is not None and index is not None and not 0 <= index < count:
        raise ArgumentError(f"process_id is from 0 to num_processes - 1, {count - 1}; received {index}")
    if _group is not None or jax.distributed.is_initialized():
        raise ProcessError("this process has joined the others already: call keras.distribution.initialize() once")
    if pjrt.has_started():
        raise ProcessError(
            "jax has started its devices already, so they can't be joined to those of other processes: call "
            "keras.distribution.initialize() first, before anything makes or looks for arrays, models or devices"
        )
    through = coordinator or "the address that the cluster gives"
    what = f"the {count or 'other'} processes did not all join through {through} within {int(timeout)} seconds"
    if coordinator is not None and index:
        _wait_for(coordinator, timeout, what)
    joining = f"{what}: are all started, with the same num_processes and each with a process_id of its own?"
    with _settings(), _Abort(joining) as abort:
        try:
            jax.distributed.initialize(
                coordinator,
                count,
                index,
                initialization_timeout=max(1, int(timeout)),
                heartbeat_timeout_seconds=max(1, int(heartbeat_timeout)),
            )
        except (ValueError, TypeError) as error:
            raise ArgumentError(
                f"the processes can't be joined: {str(error).rstrip('.')}. Give job_addresses='host:port', "
                "num_processes and process_id, or the environment variables KERAS_DISTRIBUTION_JOB_ADDRESSES, "
                "KERAS_DISTRIBUTION_NUM_PROCESSES, KERAS_DISTRIBUTION_PROCESS_ID"
            ) from error
        except (RuntimeError, jax.errors.JaxRuntimeError) as error:
            pjrt.forget_processes()
            raise ProcessError(f"{joining} jax says: {error}") from error
        client, abort.address, found_index, found_count = pjrt.coordination()
        group = Group(client, found_index, found_count, heartbeat_timeout + 10, abort)
        group.meet(timeout)
        _group = group
    return group


def _wait_for(coordinator: str, timeout: float, what: str) -> None:
    """Wait until process 0 listens; jax itself would end this process where it does not."""
    until = time.monotonic() + timeout
    while not _answers(coordinator):
        if time.monotonic() > until:
            raise ProcessError(f"{what}: nobody answers there. Is process 0 running, and is that its address?")
        time.sleep(_LOOK / 10)


@contextmanager
def _settings() -> Iterator[None]:
    """What jax is told while it joins: collectives of CPUs go through gloo; a process that is gone is for us to deal
    with; and SIGTERM ends a process, where jax would only take note of it."""
    if jax.config.jax_cpu_collectives_implementation not in ("gloo", "mpi"):  # type: ignore[attr-defined]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    names = {"jax_enable_recoverability": True, "jax_enable_preemption_service": False}
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in names.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def group() -> Group | None:
    """This process among several; None where it is the only one."""
    return _group if _group is not None and _group.count > 1 else None


def is_first() -> bool:
    """Whether this process writes the files and the messages that one process is to write."""
    return _group is None or _group.index == 0


def agree(what: str, value: Callable[[], Mapping[str, Any]], advice: str = "") -> None:
    """Make sure that all processes are at the same thing with the same value; of one process nothing is asked.

    Raises :class:`ProcessError`; see :meth:`Group.agree`.
    """
    found = group()
    if found is not None:
        found.agree(what, value(), advice)


@contextmanager
def blaming() -> Iterator[None]:
    """Within the block, an error of XLA that comes of another process being gone says which one it is."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        found = group()
        if found is None or str(error).startswith(_OWN_FAULTS):
            raise
        found.blame(error)


class _Abort:
    """What is said when jax ends this process, which it does by ``abort()`` and with a message of its own: in vain it
    waited for the others, or process 0, which serves all, can't be reached any more.

    jax aborts in the thread that its messages come in, so that nothing can be asked of its client then.
    """

    def __init__(self, joining: str) -> None:
        self.address = ""
        self._joining = joining
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._explain)
        self._signal = ctypes.CDLL(None).signal
        self._signal.argtypes, self._signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p

    def __enter__(self) -> _Abort:
        """Listen, from now on. Python's own handlers would run too late, in the main thread."""
        self._signal(signal.SIGABRT, ctypes.cast(self._function, ctypes.c_void_p))
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._signal(signal.SIGABRT, 0)

    def _explain(self, number: int) -> None:
        if _group is None:
            _tell(self._joining)
            os._exit(1)
        if not _answers(self.address):
            _group.lose({0: ""})
            time.sleep(_LAST_SECONDS)  # for the main thread to raise its error
            os._exit(1)


def _answers(address: str, seconds: float = 2) -> bool:
    """Whether anybody listens at an address."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except OSError:
        return False
    return True


def _tell(message: str) -> None:
    """Write to standard error at once, past Python's buffers and locks."""
    os.write(2, f"lamina: {message}\n".encode())
