"""The sandbox that workflows run in: what it imports once, and what it need not ask each time."""

from __future__ import annotations

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info


class ContextFreeRunner(SandboxedWorkflowRunner):
    """The SDK's sandbox for data converters that ignore the serialization context, as ours does.

    The SDK asks a workflow for that context up to four times a payload, each time through the
    sandbox: a third of a worker's CPU in a scan. None is its documented answer for "no context".
    """

    @classmethod
    def importing_once(cls, *modules: str) -> ContextFreeRunner:
        """A runner whose sandbox is on, and takes these modules from outside instead of importing
        them again for each workflow: 2 ms instead of 13 ms."""
        return cls(SandboxRestrictions.default.with_passthrough_modules(*modules))

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A workflow in a sandbox of its own."""
        return _ContextFree(super().create_instance(det))


class _ContextFree(WorkflowInstance):
    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: object) -> None:
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return StorageDriverStoreContext(target=None)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()
