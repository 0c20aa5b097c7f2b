"""`cloudsweep up`: PostgreSQL, Temporal, migrations, API and workers on one data directory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from pydantic import SecretStr

from contracts.errors import CloudsweepError
from runtime.embedded import ports, processes, record
from runtime.embedded.children import Child, ChildSpec, Say, bound_log
from runtime.embedded.postgres import database_url, postgres_child
from runtime.embedded.temporal import HOST, temporal_child, without_temporal
from runtime.settings import Settings
from runtime.temporal_address import is_external

LOG_CHECK_SECONDS: Final = 30.0
WORKER_DRAIN_SECONDS: Final = 20.0
API_DRAIN_SECONDS: Final = 15.0

# -P: a directory named `api` where the stack is started must not be taken for ours.
_PYTHON: Final = (sys.executable, "-P", "-m")


@dataclass(frozen=True, kw_only=True)
class Program:
    """The product's own processes, as commands; tests put small stand-ins here.

    `bootstrap` migrates, makes the first admin key in `<data dir>/admin.key` and exits 0.
    `api` answers `/healthz` with 200 once it serves. Each worker drains on SIGTERM.
    """

    bootstrap: Sequence[str] = (*_PYTHON, "storage.bootstrap")
    api: Sequence[str] = (*_PYTHON, "api")
    workers: Sequence[tuple[str, Sequence[str]]] = (("worker", (*_PYTHON, "worker")),)


class Stack:
    """A stack that runs: where it answers, and its processes by name."""

    def __init__(
        self,
        settings: Settings,
        *,
        program: Program,
        extra_children: Sequence[ChildSpec],
        environment: Mapping[str, str],
        say: Say,
    ) -> None:
        self.data_dir = settings.data_dir.resolve()
        self.settings = settings.model_copy(update={"data_dir": self.data_dir})
        self.key_file = self.data_dir / "admin.key"
        self.new_key: str | None = None
        """The admin key, if it was this start that made it."""
        self._program = program
        self._extra_children = extra_children
        self._environment = environment
        self._say = say
        self._hurry = asyncio.Event()
        self._tiers: list[list[Child]] = []  # in the order of starting; stopped in reverse

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return ports.url(self.settings.api_host, self.settings.api_port)

    @property
    def docs_url(self) -> str:
        """The API's documentation for people."""
        return f"{self.api_url}/docs"

    @property
    def ui_url(self) -> str | None:
        """Temporal's Web UI; None when nothing is known of an external one."""
        embedded = None if is_external() else ports.url(HOST, self.settings.temporal_ui_port)
        return self.settings.temporal_ui_url or embedded

    @property
    def temporal_address(self) -> str | None:
        """The embedded Temporal's address; None when an external one is used."""
        return None if is_external() else f"{HOST}:{self.settings.temporal_port}"

    @property
    def database_url(self) -> str:
        """PostgreSQL's URL; an external one may hold a password."""
        given = self.settings.database_url
        return given.get_secret_value() if given else database_url(self.data_dir)

    @property
    def children(self) -> list[Child]:
        """Every child, in the order of starting."""
        return [child for tier in self._tiers for child in tier]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name; a child that is just being started again is missing."""
        return {child.spec.name: child.pid for child in self.children if child.pid is not None}

    @property
    def environment(self) -> dict[str, str]:
        """What the API and the workers run with: every setting, and where the servers are."""
        inherited = dict(os.environ) if is_external() else without_temporal(os.environ)
        for name in Settings.model_fields:
            inherited.pop(f"CLOUDSWEEP_{name.upper()}", None)
        located = {"CLOUDSWEEP_DATABASE_URL": self.database_url}
        if self.temporal_address is not None:
            located["TEMPORAL_ADDRESS"] = self.temporal_address
        if self.ui_url is not None:
            located["CLOUDSWEEP_TEMPORAL_UI_URL"] = self.ui_url
        return {**inherited, **as_environment(self.settings), **located, **self._environment}

    async def start(self) -> None:
        """Bring everything up; StackFailed names the part that cannot run."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._start_product())
                group.create_task(self._start([self._extra_children]))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def failed(self) -> None:
        """Wait until a child cannot be kept running, and raise its StackFailed."""
        watchers = [asyncio.create_task(child.failed()) for child in self.children]
        try:
            done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_EXCEPTION)
            for watcher in done:
                watcher.result()
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def stop(self) -> None:
        """Stop everything, last started first: what drains still has what it needs.

        Runs to its end even when cancelled, since leaving half-way would leave processes; it only
        stops waiting for things to drain.
        """
        stopping = asyncio.create_task(self._stop_tiers())
        cancelled: asyncio.CancelledError | None = None
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError as error:
                cancelled = error
                self._hurry.set()
        if cancelled is not None:
            raise cancelled

    async def keep_logs_bounded(self) -> None:
        """Look at every log now and then, for as long as this runs."""
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for child in self.children:
                with suppress(OSError):  # a full disk is no reason to stop
                    bound_log(child.log)

    # ---- inside ----

    async def _stop_tiers(self) -> None:
        for tier in reversed(self._tiers):
            await asyncio.gather(*(child.stop() for child in tier))
        record.remove(self.data_dir)

    def _servers(self) -> list[ChildSpec]:
        servers = []
        if self.settings.database_url is None:
            servers.append(postgres_child(self.data_dir))
        if not is_external():
            # API and workers register the search attributes when they connect, here as with an
            # external server; their table would load the SDK into this process, which lives long.
            servers.append(
                temporal_child(
                    self.data_dir,
                    port=self.settings.temporal_port,
                    ui_port=self.settings.temporal_ui_port,
                )
            )
        return servers

    def _api(self) -> ChildSpec:
        async def port_is_free() -> None:
            ports.require_free_port(
                self.settings.api_host, self.settings.api_port, "CLOUDSWEEP_API_PORT"
            )

        return ChildSpec(
            name="api",
            command=self._program.api,
            environment=self.environment,
            prepare=port_is_free,
            ready=ports.http_ready(f"{self.api_url}/healthz"),
            stop=((signal.SIGTERM, API_DRAIN_SECONDS),),
        )

    def _workers(self) -> list[ChildSpec]:
        return [
            ChildSpec(
                name=name,
                command=command,
                environment=self.environment,
                stop=((signal.SIGTERM, WORKER_DRAIN_SECONDS),),
            )
            for name, command in self._program.workers
        ]

    async def _start_product(self) -> None:
        servers = await self._start([self._servers()])
        await self._bootstrap()
        await self._start([[self._api()], self._workers()], needs=servers)

    async def _start(
        self, tiers: Sequence[Sequence[ChildSpec]], *, needs: Sequence[Child] = ()
    ) -> list[Child]:
        """Start these tiers together; they are stopped one after the other, the last one first."""
        started = [[self._child(spec, needs) for spec in tier] for tier in tiers]
        self._tiers += started
        children = [child for tier in started for child in tier]
        await asyncio.gather(*(child.start() for child in children))
        return children

    async def _bootstrap(self) -> None:
        had_key = self.key_file.exists()
        spec = ChildSpec(
            name="bootstrap", command=self._program.bootstrap, environment=self.environment
        )
        await self._child(spec).run_once()
        if not had_key and self.key_file.exists():
            self.new_key = self.key_file.read_text().strip()

    def _child(self, spec: ChildSpec, needs: Sequence[Child] = ()) -> Child:
        return Child(
            spec,
            owner=self.data_dir,
            logs=self.data_dir / "logs",
            say=self._say,
            changed=self._write_record,
            needs=needs,
            hurry=self._hurry,
        )

    def _write_record(self) -> None:
        record.write(
            self.data_dir,
            record.StackRecord(
                pid=os.getpid(),
                started=psutil.Process().create_time(),
                api_url=self.api_url,
                docs_url=self.docs_url,
                ui_url=self.ui_url,
                temporal_address=self.temporal_address,
                # An external database's URL may hold a password: it stays where it was set.
                database_url=None if self.settings.database_url else self.database_url,
                children=self.pids,
            ),
        )


@asynccontextmanager
async def embedded_stack(
    settings: Settings,
    *,
    program: Program | None = None,
    extra_children: Sequence[ChildSpec] = (),
    environment: Mapping[str, str] | None = None,
    say: Say = lambda line: None,
) -> AsyncIterator[Stack]:
    """The whole stack, ready on entry; no process of it is left on exit.

    `extra_children` run beside it from the start, and need nothing of it; `environment` is added
    to what API and workers run with. `say` hears of restarts, a line each.
    Raises StackFailed when a part cannot run or the data directory is in use; `Stack.failed` tells
    of a part that fails later. Cancelled while it stops, it stops without letting things drain.
    """
    stack = Stack(
        settings,
        program=program or Program(),
        extra_children=extra_children,
        environment=environment or {},
        say=say,
    )
    with record.locked(stack.data_dir):
        await _end_leftovers(stack.data_dir)
        logs = asyncio.create_task(stack.keep_logs_bounded())
        try:
            await stack.start()
            yield stack
        finally:
            logs.cancel()
            await stack.stop()


def run_stack(
    settings: Settings,
    *,
    program: Program | None = None,
    extra_children: Sequence[ChildSpec] = (),
) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; the exit code, 1 with the reason on stderr.

    A second signal stops everything without letting it drain.
    """
    return asyncio.run(_run(settings, program, extra_children))


async def _run(
    settings: Settings, program: Program | None, extra_children: Sequence[ChildSpec]
) -> int:
    async def serve() -> None:
        async with embedded_stack(
            settings, program=program, extra_children=extra_children, say=_note
        ) as stack:
            sys.stdout.write(announcement(stack))
            sys.stdout.flush()
            await stack.failed()

    serving = asyncio.create_task(serve())

    def stop() -> None:
        _note("stopping at once" if serving.cancelling() else "stopping; once more: at once")
        serving.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        return 0
    except CloudsweepError as error:
        _note("\n".join(filter(None, (error.message, error.fix))))
    return 1


def announcement(stack: Stack) -> str:
    """What a person needs once the stack runs; the admin key only if this start made it."""
    key = (
        f"{stack.new_key}   (shown once; kept in {stack.key_file})"
        if stack.new_key
        else (f"in {stack.key_file}")
    )
    rows = {
        "API": f"{stack.api_url}/api/v1",
        "API docs": stack.docs_url,
        "Temporal": stack.ui_url or "external",
        "Data": str(stack.data_dir),
        "Admin key": key,
    }
    lines = "".join(f"  {name:<10} {value}\n" for name, value in rows.items())
    return f"\nCloudsweep is running. Ctrl-C stops it.\n\n{lines}\n"


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables from which another process reads the same settings.

    Without the CLI's key: no server process needs it, and scanners inherit what these have.
    """
    variables = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is not None and name != "api_key":
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            variables[f"CLOUDSWEEP_{name.upper()}"] = text
    return variables


async def _end_leftovers(data_dir: Path) -> None:
    """End what a killed supervisor left running, but not its PostgreSQL, whose own start does."""
    servers = processes.marked(data_dir, "postgres")
    await processes.end(each for each in processes.marked(data_dir) if each not in servers)


def _note(line: str) -> None:
    sys.stderr.write(f"cloudsweep: {line}\n")
    sys.stderr.flush()
