"""The API as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from api import openapi, problems
from api.auth import Authentication
from api.engine import Engine
from api.filters import refuse_unknown_parameters
from api.metrics import Metrics
from api.middleware import BodyLimit, RequestContext
from api.routes import (
    BASE,
    accounts,
    assets,
    cascades,
    checks,
    findings,
    health,
    imports,
    jobs,
    keys,
    metrics,
    mute_rules,
    resources,
    retention,
    runs,
    scan_events,
    scan_policies,
    scanners,
    scans,
    schedules,
    scopes,
    sla,
    targets,
    tracked_items,
    vulnerabilities,
)
from api.state import Services
from runtime.settings import Settings, get_settings
from runtime.version import VERSION
from storage.database import Database


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. It starts and serves reads while Temporal is down; it opens connections in
    its lifespan and makes them at first use.
    """
    settings = settings or get_settings()
    counted = Metrics()
    app = FastAPI(
        title="Cloudsweep",
        version=VERSION,
        summary="Cloud-security scans that are never lost.",
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an address that does not exist is a 404, as our own
        lifespan=_lifespan,
        dependencies=[Depends(refuse_unknown_parameters)],
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.settings = settings
    app.state.metrics = counted
    app.include_router(accounts.router)
    app.include_router(scans.router)
    app.include_router(scan_events.router)
    for module in (
        *(imports, schedules, jobs, runs, tracked_items),
        *(findings, vulnerabilities, mute_rules, sla, retention),
        *(targets, scopes, scan_policies, cascades, scanners, assets, resources, checks, keys),
    ):
        app.include_router(module.router)
    for module in (health, metrics):
        app.include_router(module.router)
        app.include_router(module.router, prefix=BASE, include_in_schema=False)
    openapi.add_pages(app)
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]  # as FastAPI documents
    problems.install(app)
    app.add_middleware(BodyLimit, import_limit=settings.import_limit_bytes)
    app.add_middleware(Authentication)
    app.add_middleware(RequestContext, metrics=counted)  # the last one added is the outermost
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    database = Database.open(settings.require_database_url())
    app.state.services = Services(settings, database, Engine.from_settings(settings))
    try:
        yield
    finally:
        await database.close()
