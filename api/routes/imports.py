"""Imports: findings that a scanner elsewhere wrote, merged as those of a scan."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status

from api import import_control, scan_control
from api.auth import Operator
from api.problems import described
from api.routes import BASE
from api.state import Shared
from api.uploads import uploaded_file
from contracts.scans import Scan

router = APIRouter(prefix=f"{BASE}/imports", tags=["imports"])

_FILE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The file, packed with gzip or not.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/x-ndjson": _FILE,
            "application/gzip": _FILE,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _FILE["schema"]},
                }
            },
        },
    }
}


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        200: {"model": Scan, "description": "This file was imported before: that import."},
        **described(404, 409, 413),
    },
    openapi_extra=BODY,
    summary="Import a file of findings",
)
async def import_findings(
    request: Request,
    response: Response,
    account_id: Annotated[UUID, Query(description="The account that the findings are of.")],
    caller: Operator,
    shared: Shared,
    complete: Annotated[
        bool,
        Query(
            description="The file has every finding of the checks and regions it names: resolve "
            "what it lacks of them."
        ),
    ] = False,
    again: Annotated[
        bool, Query(description="Import the file even if it was imported before.")
    ] = False,
) -> Scan:
    """Read Prowler's OCSF (a JSON array, or one finding a line) and merge it as a scan does.

    Answers once the file is read to its end, with a scan of kind `import` that merges it. Nothing
    is resolved by an import unless `complete`. A wrong line is named, and then nothing is merged.
    """
    imported = await import_control.receive(
        shared,
        caller.team_id,
        account_id,
        uploaded_file(request, shared.settings.import_limit_bytes),
        is_complete=complete,
        again=again,
    )
    if not imported.is_new:
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"{BASE}/scans/{imported.scan.id}"
    return (await scan_control.shown(shared, [imported.scan]))[0]
