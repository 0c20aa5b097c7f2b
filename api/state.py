"""What every request shares: settings, the database, the engine; opened once per process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from api.engine import Engine
from runtime.settings import Settings
from scanners.inventory import Inventory
from storage.database import Database

STREAMS: Final = 200
"""Streams of events that one process serves at a time; each asks PostgreSQL once a second."""


@dataclass(frozen=True)
class Services:
    """Opened by the app's lifespan, closed when it ends."""

    settings: Settings
    database: Database
    engine: Engine
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process was told to stop, so that endless answers end."""
    streams: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STREAMS))
    inventory: Inventory = field(default_factory=Inventory)


def services(request: Request) -> Services:
    """The services of the app that this request came to."""
    opened: Services = request.app.state.services
    return opened


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with services(request).database.transaction() as session:
        yield session


def _database(request: Request) -> Database:
    return services(request).database


def _engine(request: Request) -> Engine:
    return services(request).engine


def _now() -> datetime:
    return datetime.now(UTC)


# scope="function": committed before the answer is sent, so that a 201 is never a lie.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
Shared = Annotated[Services, Depends(services)]
DatabaseOf = Annotated[Database, Depends(_database)]
EngineOf = Annotated[Engine, Depends(_engine)]
Now = Annotated[datetime, Depends(_now)]
