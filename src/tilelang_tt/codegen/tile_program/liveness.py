"""Which on-chip buffers are still to be read: what a loop has to carry, what a branch has to leave behind, what may go.

A buffer is live where its value is read before it is set again. Every work tile begins with buffers that hold nothing.
Those that are written in parts are memory: they are fixed, and nothing has to carry them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .statements import Branch, Load, Loop, Statement, TileProgram, bodies, reads, sets, sets_part, walk

Names = frozenset[str]


class Liveness:
    """The live buffers around every statement of a tile program."""

    def __init__(self, program: TileProgram) -> None:
        self._before: dict[int, Names] = {}
        self._after: dict[int, Names] = {}
        self._entering: dict[int, Names] = {}
        parts = [statement for statement in walk(program.tile_loop.body) if sets_part(statement)]
        self.fixed: Names = frozenset(name for part in parts if (name := sets(part)) is not None)
        """The buffers that are written in parts."""

        self._visit_all(program.tile_loop.body, frozenset())
        self.crossing = self._crossing(program)
        """The buffers that a loop carries or a branch leaves behind: their values get circular buffers of their own."""

    def before(self, statement: Statement) -> Names:
        """The buffers that are live in front of ``statement``."""
        return self._before[id(statement)]

    def after(self, statement: Statement) -> Names:
        """The buffers that are live behind ``statement``."""
        return self._after[id(statement)]

    def carried(self, loop: Loop) -> list[str]:
        """The buffers that the body of ``loop`` sets for its next iteration, or for what comes after it."""
        live = self._entering[id(loop)] | self.after(loop)
        return [name for name in set_in(loop.body) if name in live - self.fixed]

    def merged(self, branch: Branch) -> list[str]:
        """The buffers that an arm of ``branch`` sets for what comes after it."""
        live = self.after(branch) - self.fixed
        return [name for name in set_in((*branch.then, *branch.otherwise)) if name in live]

    def _crossing(self, program: TileProgram) -> Names:
        names: set[str] = set()
        for statement in walk(program.tile_loop.body):
            if isinstance(statement, Loop):
                names |= set(self.carried(statement))
            elif isinstance(statement, Branch):
                names |= set(self.merged(statement))
        return frozenset(names)

    def _visit_all(self, body: Sequence[Statement], after: Names) -> Names:
        """What is live in front of ``body``, given what is behind it."""
        for statement in reversed(body):
            self._after[id(statement)] = after
            after = self._before[id(statement)] = self._visit(statement, after)
        return after

    def _visit(self, statement: Statement, after: Names) -> Names:
        if isinstance(statement, Loop):
            return self._visit_loop(statement, after)
        if isinstance(statement, Branch):
            return self._visit_all(statement.then, after) | self._visit_all(statement.otherwise, after)
        rest = after if sets_part(statement) else after - {sets(statement)}
        return rest | set(reads(statement))

    def _visit_loop(self, loop: Loop, after: Names) -> Names:
        entering: Names = frozenset()
        while (live := self._visit_all(loop.body, after | entering)) != entering:
            entering = live
        self._entering[id(loop)] = entering
        return entering | after if loop.may_be_empty else entering


def set_in(body: Sequence[Statement]) -> list[str]:
    """The buffers that statements of ``body`` set, in the order of the first that does."""
    return list(dict.fromkeys(name for s in walk(tuple(body)) if (name := sets(s)) is not None))


def stays_in_its_scope(program: TileProgram, load: Load, user: Statement) -> bool:
    """Whether ``user`` comes after ``load`` in the same body, or in a loop or branch of it."""

    def follows(body: Sequence[Statement]) -> bool | None:
        places = [place for place, statement in enumerate(body) if statement is load]
        if places:
            return any(user is statement for statement in walk(tuple(body[places[0] + 1 :])))
        inner = [part for statement in body for part in bodies(statement)]
        return next((found for part in inner if (found := follows(part)) is not None), None)

    return bool(follows(program.tile_loop.body))
