"""`python -m api`: serve until SIGTERM or SIGINT, then end what is being answered."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Final

import uvicorn

from api.app import create_app
from contracts.errors import CloudsweepError
from runtime.logging import configure_logging
from runtime.settings import get_settings

DRAIN_SECONDS: Final = 10


class Server(uvicorn.Server):
    """Tells endless answers to end when the process is told to stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remember the signal; streams of events end at their next look."""
        app = self.config.app
        services = getattr(app.state, "services", None)  # type: ignore[union-attr]  # a FastAPI
        if services is not None:
            services.stopping.set()
        super().handle_exit(sig, frame)


def main() -> None:
    """Listen on the settings' host and port."""
    try:
        settings = get_settings()
        settings.require_database_url()
    except CloudsweepError as error:
        sys.exit(f"{error.message} {error.fix}")
    configure_logging(settings)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # uvicorn raises the signal again once it has drained: a clean stop must still exit with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = Server(config)
    server.run()
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
