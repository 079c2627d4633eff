"""One way to share out the work of a kernel, as the planner ranks it."""

from __future__ import annotations

from dataclasses import dataclass

from .cost import Cost
from .work_partition import WorkPartition


@dataclass(frozen=True)
class Candidate:
    """One way to share out the work.

    Attributes:
        name: what it is, in the words of ``tt.user_schedule``.
        cost: what the model says of it.
        partition: the partition; None for a plan that code generation cannot execute yet.
        schedule: what to put in ``tt.user_schedule`` to ask for exactly this; None where nothing does.
        note: why it cannot be executed, or other remarks.
    """

    name: str
    cost: Cost
    partition: WorkPartition | None = None
    schedule: dict[str, object] | None = None
    note: str = ""

    @property
    def executable(self) -> bool:
        """Whether code generation can execute it."""
        return self.partition is not None
