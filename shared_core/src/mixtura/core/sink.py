"""Where a layer puts its routings while a record is open."""

from mixtura.core.routing import Routing

__all__ = ["Call", "Sink"]


class Call:
    """One routing, and the call before it.

    Args:
        routing: what was decided; None at the very beginning.
        previous: the call before.
    """

    def __init__(self, routing: Routing | None, previous: "Call | None") -> None:
        self.routing = routing
        self.previous = previous


class Sink:
    """A chain of calls, newest first.

    A list would do, but compiled code depends on the length of a list that it appends to and would
    be compiled again for each call of a layer in one record.
    """

    def __init__(self) -> None:
        self.last = Call(None, None)

    def since(self, start: Call) -> list[Routing]:
        """The routings after `start`, oldest first."""
        found = []
        call = self.last
        while call is not start and call.previous is not None:
            assert call.routing is not None
            found.append(call.routing)
            call = call.previous
        return found[::-1]
