"""Prometheus text: this process's requests, and gauges of the store."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.auth import Viewer
from api.metrics import Metrics
from api.problems import described
from api.state import Services, Shared
from storage.statistics import store_statistics

router = APIRouter(tags=["health"])

STORE_SECONDS: Final = 15.0
"""The store is counted no more often than this, however many scrape."""


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text.",
            "content": {CONTENT_TYPE_LATEST.split(";")[0]: {"schema": {"type": "string"}}},
        },
        **described(),
    },
    summary="Metrics",
)
async def show_metrics(request: Request, caller: Viewer, shared: Shared) -> Response:
    """Request counts and latencies of this process, and what the store holds, in Prometheus' text
    format. Give Prometheus a viewer key (`authorization: credentials_file`).
    """
    metrics: Metrics = request.app.state.metrics
    await _count_the_store(metrics, shared)
    text = await asyncio.to_thread(generate_latest, metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _count_the_store(metrics: Metrics, shared: Services) -> None:
    if monotonic() - metrics.store_counted_at < STORE_SECONDS:
        return
    async with shared.database.transaction() as session:
        metrics.show_store(await store_statistics(session))
    metrics.store_counted_at = monotonic()
