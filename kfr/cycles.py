"""Find the cycles that a hierarchy must not have."""

from collections.abc import Callable, Iterable


def shortest_cycle(
    nodes: list[int], following: Callable[[int], Iterable[int]], most: int = 1000
) -> list[int]:
    """Return the shortest cycle through the first `most` of `nodes` that lie on one.

    `nodes` holds at least one cycle; the answer lists its nodes once, each followed
    by one of those that `following` gives for it.
    """
    best: list[int] = []
    for start in _core(nodes, following)[:most]:
        found = _way_back(start, following, len(best) or None)
        if found and (not best or len(found) < len(best)):
            best = found
    return best


def _core(nodes: list[int], following: Callable[[int], Iterable[int]]) -> list[int]:
    """Drop the nodes from which nothing among `nodes` comes back, again and again."""
    inside = set(nodes)
    leaving = {n: sum(f in inside for f in following(n)) for n in nodes}
    before: dict[int, list[int]] = {}
    for node in nodes:
        for after in following(node):
            before.setdefault(after, []).append(node)
    ends = [node for node, count in leaving.items() if not count]
    for end in ends:
        inside.discard(end)
        for node in before.get(end, ()):
            leaving[node] -= 1
            if not leaving[node]:
                ends.append(node)
    return [node for node in nodes if node in inside]


def _way_back(
    start: int, following: Callable[[int], Iterable[int]], shorter_than: int | None
) -> list[int]:
    """Return the shortest way from `start` to itself, breadth first."""
    came_from: dict[int, int] = {}
    front, length = [start], 0
    while front and (shorter_than is None or length < shorter_than):
        length += 1
        ahead = []
        for node in front:
            for after in following(node):
                if after == start:
                    return _walked(start, node, came_from)
                if after not in came_from:
                    came_from[after] = node
                    ahead.append(after)
        front = ahead
    return []


def _walked(start: int, end: int, came_from: dict[int, int]) -> list[int]:
    way = [end]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
