"""Namespaces of a test's own on the run's Temporal: queues that no other test sees."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from runtime import search_attributes
from runtime.temporal import CONTRACTS, register_search_attributes


async def new_namespace(temporal: Client, name: str) -> Client:
    """A client of a new namespace, once the server knows it and our search attributes."""
    name = f"{name}-{uuid4()}"
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace=name, workflow_execution_retention_period=Duration(seconds=86_400)
        )
    )
    client = await Client.connect(
        temporal.service_client.config.target_host,
        namespace=name,
        data_converter=CONTRACTS,
    )
    while True:  # the server learns of a new namespace when it next looks
        try:
            await client.count_workflows()
            await register_search_attributes(client, search_attributes.TYPES)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.2)
        else:
            return client
