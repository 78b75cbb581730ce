"""One run at a time on an output: `journal/lock.json`, held by a heartbeat.

Who may take a lock that another wrote:
- released by its holder: anyone, at once;
- its process is dead on this very machine (same host, boot and pid namespace; pid and start time are compared, so a
  reused pid is no holder): at once;
- anything else: after it stood unchanged for its lease, timed by the waiter's own clock, so that clocks of different
  hosts are never compared. A heartbeat in that time means that it is alive.

Every change is a conditional write (`create_exclusive`, `replace_if`), so of two rivals exactly one wins. Not covered:
a holder that is frozen past its lease on another host and wakes up later learns at its next heartbeat that it lost.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from engine.errors import EcsoError, OutputBusyError
from engine.journal.store import Store

LOCK = "journal/lock.json"
LEASE_S = 30.0
IfRunning = Literal["fail", "wait", "skip"]

log = logging.getLogger(__name__)


class Skipped(EcsoError):
    """`--if-running skip` found another run: nothing to do, and no failure."""

    exit_code = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """What lock.json says."""

    host: str
    place: str
    """Boot id and pid namespace: where `pid` means something."""
    pid: int
    started: str
    """Start time of the process in ticks since boot: tells it from a later process with the same pid."""
    nonce: str
    lease_s: float
    beat: int = 0
    since: float = 0.0
    released: bool = False

    def text(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"process {self.pid} on {self.host} (since {since})"


UNREADABLE = Holder("an unknown host", "", 0, "", "", LEASE_S)
"""Stands for a lock file that nobody can read: treated as a holder elsewhere, so it is taken after a lease."""


def myself(lease_s: float) -> Holder:
    """This process as a holder, under a new nonce."""
    pid = os.getpid()
    return Holder(
        host=socket.gethostname(),
        place=_place(),
        pid=pid,
        started=_started(pid) or "",
        nonce=secrets.token_hex(8),
        lease_s=lease_s,
        since=time.time(),
    )


def _place() -> str:
    """'' where the system does not say (no /proc): then only the lease counts."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Start time of a living process, None where there is none. A zombie was killed and is only not yet reaped."""
    try:
        # The name in field 2 may hold spaces and brackets; the fields after the last bracket are plain.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def is_dead(holder: Holder) -> bool:
    """Whether the holder is surely gone: it let go, or its process is dead on this very machine."""
    if holder.released:
        return True
    if not holder.place or holder.place != _place() or holder.host != socket.gethostname():
        return False
    return _started(holder.pid) != holder.started


class RunLock:
    """Context manager: holds the lock inside the block.

    `if_running` says what to do about a living holder: `fail` raises OutputBusyError, `skip` raises Skipped,
    `wait` waits. All three wait up to one lease for a holder on another host to show a heartbeat. `lost` is set, and
    `on_lost` called once from the heartbeat thread, when the lock was taken away or could not be renewed for a lease:
    the run must stop writing.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease_s: float = LEASE_S,
        if_running: IfRunning = "fail",
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.lost = threading.Event()
        self._store = store
        self._if_running = if_running
        self._on_lost = on_lost
        self._holder = myself(lease_s)
        self._token = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock and start its heartbeat."""
        self._store.ensure()
        self._holder = replace(myself(self._holder.lease_s), since=time.time())
        self._token = self._take()
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_beating, name="run-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let go. The file stays and says so: a removal could hit the lock of whoever took it over."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        if self.lost.is_set():
            return
        try:
            self._store.replace_if(LOCK, replace(self._holder, released=True).text(), self._token)
        except (EcsoError, OSError) as error:
            # Not worth hiding the error that ends the run: a dead process frees the lock as well.
            log.warning("the run lock could not be released, it will lapse: %s", error)

    # --- taking ------------------------------------------------------------------------------------------------

    def _take(self) -> str:
        """The token of our lock."""
        watch = _Watch()
        while True:
            self._store.create_exclusive(LOCK, self._holder.text())
            found = self._read()
            if found is None:
                continue
            holder, token = found
            if holder.nonce == self._holder.nonce:
                return token
            if watch.expired(holder, token) or is_dead(holder):
                taken = self._store.replace_if(LOCK, self._holder.text(), token)
                if taken is not None:
                    return taken
                continue
            if watch.alive(holder):
                self._busy(holder)
            elif watch.first_look():
                log.warning("waiting up to %.0f s for a sign of life from %s", holder.lease_s, holder)
            time.sleep(min(1.0, holder.lease_s / 10))

    def _read(self) -> tuple[Holder, str] | None:
        try:
            data, token = self._store.read_token(LOCK)
        except FileNotFoundError:
            return None
        try:
            return Holder(**json.loads(data)), token
        except (ValueError, TypeError):
            return UNREADABLE, token

    def _busy(self, holder: Holder) -> None:
        if self._if_running == "fail":
            raise OutputBusyError(
                f"{self._store.url} is held by {holder}; wait for it, choose another --out, or use --if-running wait"
            )
        if self._if_running == "skip":
            raise Skipped(f"already running: {self._store.url} is held by {holder}")

    # --- holding -----------------------------------------------------------------------------------------------

    def _keep_beating(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(self._holder.lease_s / 3):
            kept = self._beat()
            if kept:
                renewed = time.monotonic()
            elif kept is False or time.monotonic() - renewed > self._holder.lease_s:
                self.lost.set()
                if self._on_lost:
                    self._on_lost()
                return

    def _beat(self) -> bool | None:
        """True: renewed. False: somebody else has it. None: the store did not answer; try again."""
        following = replace(self._holder, beat=self._holder.beat + 1)
        try:
            token = self._store.replace_if(LOCK, following.text(), self._token)
            if token is None:
                return self._recognise(following)
        except (EcsoError, OSError) as error:
            log.warning("the run lock could not be renewed, trying again: %s", error)
            return None
        self._holder, self._token = following, token
        return True

    def _recognise(self, following: Holder) -> bool:
        """A put whose answer got lost was ours after all."""
        found = self._read()
        if found is None or found[0].nonce != self._holder.nonce:
            return False
        self._holder, self._token = following, found[1]
        return True


class _Watch:
    """Remembers how long the lock has stood unchanged, on our own clock."""

    def __init__(self) -> None:
        self._token = ""
        self._seen = 0.0
        self._moved = False
        self._told = False

    def first_look(self) -> bool:
        """True once: a silent wait of half a minute looks like a hang."""
        first, self._told = not self._told, True
        return first

    def expired(self, holder: Holder, token: str) -> bool:
        """Whether the same bytes have stood for the holder's lease."""
        now = time.monotonic()
        if token != self._token:
            self._moved = bool(self._token)
            self._token, self._seen = token, now
            return False
        return now - self._seen > holder.lease_s and not self._here(holder)

    def alive(self, holder: Holder) -> bool:
        """Known to be alive: its process runs on this machine, or its lock moved while we watched."""
        return self._moved or self._here(holder)

    @staticmethod
    def _here(holder: Holder) -> bool:
        """On this machine the process itself is asked: it may be suspended for longer than its lease."""
        return bool(holder.place) and holder.place == _place() and not is_dead(holder)
