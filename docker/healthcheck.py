"""Is this container's process well? `healthcheck.py api`, or `healthcheck.py worker QUEUE...`.

The API is asked for `/healthz`. A worker has no port, and one whose slots are all taken polls
nothing: Temporal is asked for the heartbeats that workers of this host sent, one for each queue.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import socket
import sys
from typing import NoReturn

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.service import RPCError, RPCStatusCode

from contracts.errors import CloudsweepError
from runtime import task_queues, temporal
from runtime.exit import leave
from runtime.settings import Settings

RECENT_SECONDS = 180
"""Three heartbeats."""


def check_api(settings: Settings) -> str | None:
    """What is wrong with the API of this container; None if nothing is."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.api_port, timeout=4)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except OSError as error:
        return f"The API does not answer: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"The API answers {status}"


async def check_worker(settings: Settings, queues: list[str]) -> str | None:
    """What is wrong with the worker of this host; None if each of its queues is served."""
    try:
        client = await temporal.connect(settings)
        found = await client.workflow_service.list_workers(
            ListWorkersRequest(namespace=client.namespace, page_size=1000)
        )
    except CloudsweepError as error:
        return error.message
    except RPCError as error:
        # A server older than 1.30 keeps no heartbeats; that it answers must do there.
        return None if error.status == RPCStatusCode.UNIMPLEMENTED else error.message
    beats = [worker.worker_heartbeat for worker in found.workers_info]
    served = {
        beat.task_queue
        for beat in beats
        if beat.host_info.host_name == socket.gethostname()
        and beat.status == WorkerStatus.WORKER_STATUS_RUNNING
        and beat.elapsed_since_last_heartbeat.ToSeconds() < RECENT_SECONDS
    }
    missing = [queue for queue in queues if queue not in served]
    return f"No worker of this host serves {', '.join(missing)}" if missing else None


def main() -> NoReturn:
    """The command line: exit code 0 when well, 1 with the reason when not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["api", "worker"])
    parser.add_argument("queues", nargs="*", metavar="queue")
    arguments = parser.parse_args()
    if unknown := set(arguments.queues) - set(task_queues.SLOTS):
        parser.error(f"no such queue: {', '.join(sorted(unknown))}")
    settings = Settings()
    if arguments.role == "api":
        wrong = check_api(settings)
    else:
        wrong = asyncio.run(check_worker(settings, arguments.queues))
    if wrong:
        sys.stderr.write(wrong + "\n")
    leave(1 if wrong else 0)


if __name__ == "__main__":
    main()
