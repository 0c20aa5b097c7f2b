"""The connection to Temporal: where it is, how values are written, what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from contracts.errors import EngineUnavailable
from runtime.settings import Settings
from runtime.temporal_address import FILE_SELECTORS
from runtime.temporal_address import is_external as is_external

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_UNREACHABLE: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,  # the SDK's own "Timeout expired", of a server that is silent
    }
)
_MAY_NOT_REGISTER: Final = frozenset(
    {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.ALREADY_EXISTS}
)
_REGISTER_TIMEOUT: Final = timedelta(seconds=10)
_MADE_ONCE: Final = tuple(PydanticPayloadConverter().converters.values())


class ContractConverter(CompositePayloadConverter):
    """Contracts as JSON, by pydantic.

    The SDK makes one for each workflow and two for each of its tasks. All share what pydantic has
    learned of a type: a twentieth of a worker's CPU in a scan.
    """

    def __init__(self) -> None:
        super().__init__(*_MADE_ONCE)


CONTRACTS: Final = DataConverter(payload_converter_class=ContractConverter)


def connect_config(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> ClientConnectConfig:
    """Address, namespace, TLS and key from the standard `TEMPORAL_*` variables.

    Without TEMPORAL_ADDRESS, TEMPORAL_PROFILE or TEMPORAL_CONFIG_FILE it is the embedded server.
    The user's own configuration file is read only when one of the last two asks for it: a profile
    that lies there for another purpose must not receive our scans. Holds a secret: never log it.
    """
    environment = dict(os.environ if environment is None else environment)
    if not is_external(environment):
        return {"target_host": f"127.0.0.1:{settings.temporal_port}", "namespace": "default"}
    from_file = any(environment.get(name) for name in FILE_SELECTORS)
    try:
        config = ClientConfig.load_client_connect_config(
            config_file=environment.get("TEMPORAL_CONFIG_FILE") or None,
            disable_file=not from_file,
            override_env_vars=environment,
        )
    except RuntimeError as error:
        raise EngineUnavailable(
            f"The Temporal configuration cannot be read: {error}",
            fix="Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the file they name.",
        ) from error
    return {"target_host": "127.0.0.1:7233", "namespace": "default", **config}


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """A client that writes contracts as JSON; EngineUnavailable when nothing answers.

    Lazy: returns at once and connects at the first call, so that a process may start first.
    """
    config = connect_config(settings)
    # Packing what never leaves this machine cost a fifteenth of the CPU of a scan's orchestration.
    near = config["target_host"].rpartition(":")[0] in _LOOPBACK
    try:
        return await Client.connect(
            **config,
            data_converter=CONTRACTS,
            lazy=lazy,
            grpc_compression=GrpcCompression.NONE if near else GrpcCompression.GZIP,
        )
    except RuntimeError as error:  # what the SDK raises when it cannot connect
        raise _unavailable(config["target_host"], str(error)) from error


async def register_search_attributes(client: Client, types: Mapping[str, str]) -> None:
    """Make these attributes (name -> type) usable in the client's namespace. Idempotent.

    A server that lets nobody register, such as a hosted one, is left as it is: its operator adds
    them once, and a workflow that sets one says which is missing.
    """
    request = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={
            name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
            for name, kind in types.items()
        },
    )
    try:
        await client.operator_service.add_search_attributes(request, timeout=_REGISTER_TIMEOUT)
    except RPCError as error:
        if error.status not in _MAY_NOT_REGISTER:
            raise


@contextmanager
def engine_errors(client: Client | None = None) -> Iterator[None]:
    """Turn "Temporal does not answer" into EngineUnavailable; other errors pass unchanged."""
    where = client.service_client.config.target_host if client else "its address"
    try:
        yield
    except RPCError as error:
        if error.status not in _UNREACHABLE:
            raise
        raise _unavailable(where, error.message) from error
    except RuntimeError as error:  # a lazy client's first call, with nothing listening
        if not str(error).startswith("Failed client connect"):
            raise
        raise _unavailable(where, str(error)) from error


def _unavailable(where: str, reason: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"Temporal does not answer at {where}: {reason[:300]}",
        fix="Start it (`cloudsweep up`), or check TEMPORAL_ADDRESS. The call may be repeated.",
    )
