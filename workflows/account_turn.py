"""Scans of one account take turns: waiting for the account, and waking the scan that waits."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from contracts.scans import ScanRequest, ScanSummary
    from runtime import policies


class AccountTurn:
    """One scan's wait for its turn. Its workflow's signal `account_free` calls `come`."""

    def __init__(self) -> None:
        self._has_come = False

    def come(self) -> None:
        """The scan that had the account has ended."""
        self._has_come = True

    async def wait(self, request: ScanRequest) -> None:
        """Until woken, or until it is time to look again; in a new history if this one is long."""
        try:
            await workflow.wait_condition(lambda: self._has_come, timeout=policies.ACCOUNT_RECHECK)
        except TimeoutError:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)
        self._has_come = False


async def wake_next(ended: ScanSummary) -> None:
    """Wake the scan that waits for the account of this one, if there is any."""
    if ended.next_scan_id is None:
        return
    waiting = workflow.get_external_workflow_handle(f"scan/{ended.next_scan_id}")
    try:
        await waiting.signal("account_free")
    except FailureError:  # it is not running; whoever starts it takes the account itself
        workflow.logger.info("The waiting scan %s is not running", ended.next_scan_id)
