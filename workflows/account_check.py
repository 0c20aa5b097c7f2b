"""Check an account's credentials where the scans will use them: on a worker."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.scan_lifecycle import ScanLifecycleActivities
    from contracts.accounts import AccountCheck as AccountCheckResult
    from contracts.accounts import AccountRef
    from runtime import policies, task_queues


@workflow.defn
class AccountCheck:
    """Says who we are in the account, or exactly what is missing; changes nothing in it."""

    @workflow.run
    async def run(self, request: AccountRef) -> AccountCheckResult:
        return await workflow.execute_activity_method(
            ScanLifecycleActivities.check_account,
            request,
            task_queue=task_queues.SCANS,
            summary="Ask the provider who we are",
            **policies.CHECK_CREDENTIALS,
        )
