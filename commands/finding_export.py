"""`cloudsweep finding export`: findings as a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from commands import findings
from commands.client import WRONG_USAGE, Failure, connected
from commands.output import say
from contracts.vocabulary import ExportFormat


@findings.app.command("export")
def export_findings(
    format: Annotated[ExportFormat, typer.Option("--format", help="How to write them.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, not to the terminal.")
    ] = None,
    account: findings.Account = None,
    scan: findings.Scan = None,
    source: findings.Source = None,
    status: findings.Status = None,
    state: findings.State = None,
    severity: findings.Severities = None,
    service: findings.Service = None,
    region: findings.Region = None,
    check_id: findings.CheckId = None,
    resource_uid: findings.ResourceUid = None,
    q: findings.Query = None,
    first_seen_after: findings.Since = None,
) -> None:
    """Write all findings that match as CSV, NDJSON, or Prowler's OCSF one a line.

    A file appears under its name only once it is whole.
    """
    with connected() as api:
        parameters = findings.filters(
            api,
            account,
            scan,
            source=source,
            status=findings.values(status),
            state=findings.values(state),
            severity=severity,
            service=service,
            region=region,
            check_id=check_id,
            resource_uid=resource_uid,
            q=q,
            first_seen_after=first_seen_after,
        )
        size = 0
        with _writing(output) as file:
            for chunk in api.download("findings/export", {**parameters, "format": format.value}):
                file.write(chunk)
                size += len(chunk)
    if output is not None:
        say(f"{size:,} bytes in {output}")


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.", code=WRONG_USAGE) from error
    finally:
        partial.unlink(missing_ok=True)
