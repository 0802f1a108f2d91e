"""Which steps a repetition takes again."""

from __future__ import annotations

from .graph import Graph


def body_of(graph: Graph, repeat: str) -> tuple[str, ...]:
    """Return the nodes that a repetition runs again, in their order.

    Parameters
    ----------
    graph
        The graph.
    repeat
        The repetition.
    """
    before = graph.upstream(repeat) - {repeat}
    return tuple(
        name
        for name in graph.order()
        if name in before
        and graph.node(name).kind.category == "steps"
        and graph.node(name).type != "initialize_optimizer"
    )
