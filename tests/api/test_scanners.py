"""`GET /scanners`: what the API's machine can scan with."""

from __future__ import annotations

import httpx

from contracts.native import ScannerState
from scanners.inventory import PROGRAMS


async def test_a_viewer_sees_every_scanner_page_by_page(viewer: httpx.AsyncClient) -> None:
    whole = (await viewer.get("scanners")).json()
    names = [each["name"] for each in whole["items"]]
    assert names == sorted([*(each.name for each in PROGRAMS), "prowler", "steampipe"])
    assert whole["next_cursor"] is None
    states = {each["state"] for each in whole["items"]}
    assert states <= {each.value for each in ScannerState}
    assert all(each["fix"] for each in whole["items"] if each["state"] == ScannerState.MISSING)
    first = (await viewer.get("scanners", params={"limit": 7})).json()
    second = (await viewer.get("scanners", params={"cursor": first["next_cursor"]})).json()
    assert first["items"] + second["items"] == whole["items"]
    assert second["next_cursor"] is None
