"""One supervised child: started, known to be ready, started again when it dies, stopped cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from runtime.embedded import processes
from runtime.embedded.processes import StackFailed
from runtime.redaction import redact

QUICK_DEATH_SECONDS: Final = 30.0
QUICK_DEATHS: Final = 5
"""So many lives in a row, each shorter than that or ended before it was ready: it cannot run."""
MAX_PAUSE_SECONDS: Final = 5.0
LOG_BYTES: Final = 5_000_000
"""A log that grew past this moves to `<name>.log.1`: two such files a child at most."""
TAIL_LINES: Final = 15

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """How one child process is started, known to be ready, and stopped.

    `environment` is the whole environment; None is ours. `prepare` runs before every start.
    `ready` tries once and is asked again until it says True; a child without it is ready at once.
    `stop` are the signals with the seconds each may take; SIGKILL follows. `death_signal` reaches
    the child when the supervisor is killed, which is what `tie` wraps the command for.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 60.0
    stop: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10.0),)
    death_signal: signal.Signals = signal.SIGTERM
    tie: Callable[[Sequence[str], signal.Signals], list[str]] = processes.tied


class Child:
    """A child process and the task that keeps it running until it is stopped or cannot run.

    Belongs to the event loop's thread, which must be the one that outlives it: the kernel ends a
    child with the thread that started it. It is started only while the children it `needs` are
    ready: what dies with a server waits for the server, instead of dying again.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        owner: Path,
        logs: Path,
        say: Say = lambda line: None,
        changed: Callable[[], None] = lambda: None,
        needs: Sequence[Child] = (),
        hurry: asyncio.Event | None = None,
    ) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        self._owner = owner
        self._say = say
        self._changed = changed
        self._needs = needs
        self._hurry = hurry or asyncio.Event()
        self._ready = asyncio.Event()
        self._was_ready = False
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while there is no process."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def start(self) -> None:
        """Start it and return once it is ready; StackFailed, with the end of its log, if not."""
        self._make_directories()
        self._task = asyncio.create_task(self._keep_running(), name=f"child {self.spec.name}")
        await _first_of(self._task, self._ready.wait())
        if self._task.done():
            await self._task

    async def failed(self) -> None:
        """Return only when it was stopped; raise StackFailed when it cannot be kept running."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Stop it and everything that carries its mark. Idempotent; its own failure is no error."""
        self._stopping.set()
        if self._task is None:
            return
        for signal_number, grace in (*self.spec.stop, (signal.SIGKILL, None)):
            if self._task.done():
                break
            self._send(signal_number)
            if grace is None:
                await asyncio.wait({self._task})
            else:
                await _first_of(self._task, self._hurry.wait(), within=grace)
        with suppress(StackFailed):
            await self._task

    async def run_once(self) -> None:
        """Run it to its end instead of keeping it running; StackFailed unless it exits with 0."""
        self._make_directories()
        process = await self._spawn()
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        finally:
            await self._end_descendants()
        if code != 0:
            raise self._failure(f"{self.spec.name} {_how(code)}")

    # ---- inside ----

    def _make_directories(self) -> None:
        for path in (self._owner, self.log.parent):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        quick_deaths = 0
        while not self._stopping.is_set():
            await self._until_needs_are_met()
            born = loop.time()
            how = await self._live()
            lived_well = self._ready.is_set() and loop.time() - born >= QUICK_DEATH_SECONDS
            self._ready.clear()
            await self._end_descendants()
            if self._stopping.is_set():
                return
            quick_deaths = 1 if lived_well else quick_deaths + 1
            if quick_deaths >= QUICK_DEATHS or how is None:
                words = how or f"was not ready within {self.spec.ready_seconds:g} seconds"
                raise self._failure(f"{self.spec.name} {words}, and starting it again did not help")
            pause = min(0.25 * 2 ** (quick_deaths - 1), MAX_PAUSE_SECONDS)
            self._say(f"{self.spec.name} {how}; starting it again in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _until_needs_are_met(self) -> None:
        for needed in self._needs:
            await _first_of(self._stopping.wait(), needed._ready.wait())

    async def _live(self) -> str | None:
        """One life, from start to death: how it died, or None if it never became ready."""
        try:
            if self.spec.prepare is not None:
                await self.spec.prepare()
            if self._stopping.is_set():
                return "was stopped"
            self._process = process = await self._spawn()
        except StackFailed as error:
            if not self._was_ready:
                raise
            return f"could not be started ({error.message.rstrip('.')})"
        self._changed()
        if not await self._becomes_ready(process):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            return None
        if process.returncode is None:
            self._was_ready = True
            self._ready.set()
        how = _how(await process.wait())
        self._changed()
        return how

    async def _becomes_ready(self, process: asyncio.subprocess.Process) -> bool:
        """False when its time is up; True also when it died, which the caller sees by itself."""
        if self.spec.ready is None:
            return True
        deadline = asyncio.get_running_loop().time() + self.spec.ready_seconds
        while process.returncode is None and not await self.spec.ready():
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = dict(os.environ if self.spec.environment is None else self.spec.environment)
        environment[processes.MARK] = processes.mark(self._owner, self.spec.name)
        with _opened_log(self.log) as log:
            # Its own session: Ctrl-C in a terminal reaches us alone, and we stop it in order.
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.spec.tie(self.spec.command, self.spec.death_signal),
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackFailed(
                    f"{self.spec.name} cannot be started: {error}.",
                    fix=f"Its command is: {self.spec.command[0]}",
                ) from error
        if self._stopping.is_set():  # asked to stop while it was being born
            with suppress(ProcessLookupError):
                process.send_signal(self.spec.stop[0][0])
        return process

    async def _end_descendants(self) -> None:
        """End what it started and left behind, such as the scanners of a killed worker."""
        left = processes.marked(self._owner, self.spec.name)
        if left:
            await processes.end(left)

    def _send(self, signal_number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal_number)

    def _failure(self, message: str) -> StackFailed:
        tail = redact(tail_of(self.log))
        return StackFailed(
            f"{message}.\n{tail}" if tail else f"{message}.",
            fix=f"The whole log is {self.log}.",
        )


async def _first_of(
    *waits: asyncio.Task[None] | Coroutine[object, object, object], within: float | None = None
) -> None:
    """Return when one of them is done, or the time is up; tasks go on, coroutines are cancelled."""
    tasks = [
        wait if isinstance(wait, asyncio.Task) else asyncio.create_task(wait) for wait in waits
    ]
    try:
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if task not in waits:
                task.cancel()


@asynccontextmanager
async def running(
    spec: ChildSpec, *, owner: Path, logs: Path, say: Say = lambda line: None
) -> AsyncIterator[Child]:
    """One child on its own, ready on entry and gone on exit."""
    child = Child(spec, owner=owner, logs=logs, say=say)
    try:
        await child.start()
        yield child
    finally:
        await child.stop()


def _opened_log(log: Path) -> BinaryIO:
    bound_log(log)
    return open(log, "ab", opener=_private)


def bound_log(log: Path) -> None:
    """Move a log that grew too large aside. Its writer appends, so it goes on at the start."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            kept = log.with_name(f"{log.name}.1")
            with open(log, "rb") as source, open(kept, "wb", opener=_private) as target:
                source.seek(-LOG_BYTES, os.SEEK_END)
                while chunk := source.read(1 << 16):
                    target.write(chunk)
            os.truncate(log, 0)


def tail_of(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, at most 4 kB; empty when there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4_000))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
