"""Find the cycles that a hierarchy must not have."""

from collections.abc import Callable, Iterable, Sequence

Following = Callable[[int], Iterable[int]]


def shortest_cycle(
    nodes: Sequence[int], following: Following, effort: int = 2_000_000
) -> list[int]:
    """Return the shortest cycle; its nodes once, each followed by one it leads to.

    Each of `nodes` must lead to another of them, as those do that an ordering by
    parents could not place. After `effort` steps, the shortest so far is good enough.
    """
    core = _core(nodes, following)
    best = _some_cycle(core, following)
    for start in core:
        if effort <= 0 or len(best) == 1:
            break
        shorter, steps = _way_back(start, following, len(best) - 1)
        best = shorter or best
        effort -= steps
    return best


def _core(nodes: Sequence[int], following: Following) -> list[int]:
    """Drop the nodes to which none of the others leads, again and again."""
    inside = set(nodes)
    arriving = dict.fromkeys(nodes, 0)
    for node in nodes:
        for after in following(node):
            if after in inside:
                arriving[after] += 1
    ends = [node for node, count in arriving.items() if not count]
    for end in ends:
        inside.discard(end)
        for after in following(end):
            if after in inside:
                arriving[after] -= 1
                if not arriving[after]:
                    ends.append(after)
    return [node for node in nodes if node in inside]


def _some_cycle(core: list[int], following: Following) -> list[int]:
    """Return the cycle into which a walk from the first node runs."""
    inside = set(core)
    place: dict[int, int] = {}
    node = core[0]
    while node not in place:
        place[node] = len(place)
        node = next(after for after in following(node) if after in inside)
    return list(place)[place[node] :]


def _way_back(start: int, following: Following, most: int) -> tuple[list[int], int]:
    """Return a way from `start` to itself over `most` nodes, and the steps it took."""
    came_from: dict[int, int] = {}
    front, length = [start], 0
    while front and length < most:
        length += 1
        ahead = []
        for node in front:
            for after in following(node):
                if after == start:
                    return _walked(start, node, came_from), len(came_from) + 1
                if after not in came_from:
                    came_from[after] = node
                    ahead.append(after)
        front = ahead
    return [], len(came_from) + 1


def _walked(start: int, end: int, came_from: dict[int, int]) -> list[int]:
    way = [end]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]
