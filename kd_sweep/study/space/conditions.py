"""The conditions of search dimensions: which of them a point has, and which values can come together.

A dimension with `when` is there only where other dimensions have certain values, and a parameter of some losses only
where one of these is selected. Where it is absent, its field has the value that the study gives it outside `search`.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from kd_sweep.errors import alternatives
from kd_sweep.study.file.messages import RuleError
from kd_sweep.study.file.yaml_reader import shown
from kd_sweep.study.space.dimensions import (
    dimension_size,
    dimension_values,
    holds,
    listed_values,
    possible_values,
    range_bounds,
)
from kd_sweep.study.space.searchable_fields import entries_having, is_parameter_of, search_field, selector_of
from kd_sweep.study.spec import Choice, Grid, StudySpec, Value

Point = dict[str, Value]
"""A value for every dimension that is there, by the dimension's name."""

MAX_NAMED = 8
"""So many possible values are named in a message."""


class Branch(NamedTuple):
    """All points of a space in which the same dimensions are there for the same reasons."""

    num_points: int | None
    """How many; None where a dimension is continuous."""
    rarity: int | None
    """One in so many draws, each value of a dimension as likely as the next, is a certain one of these points."""
    names: tuple[str, ...]
    """The dimensions that are there."""


class Conditions:
    """Decides which dimensions of a study's space are there.

    Args:
        spec: the study. Its conditions are in order (`check_conditions`).
    """

    def __init__(self, spec: StudySpec) -> None:
        self._search = spec.search
        self._required = {name: _required(spec, name) for name in spec.search}
        self.order = _deciders_first(self._required)
        """All dimensions, in the order of the file but that each comes after those that decide on it."""
        self.deciders = {decider for required in self._required.values() for decider in required}
        """The dimensions that others depend on."""
        self.conditional = frozenset(name for name, required in self._required.items() if required)
        """The dimensions that are not in every point."""

    def is_active(self, name: str, point: Mapping[str, Value]) -> bool:
        """Return whether a dimension is there, beside the values of those that come before it in `order`."""
        required = self._required[name].items()
        return all(decider in point and point[decider] in values for decider, values in required)

    def closed(self, names: Collection[str]) -> list[str]:
        """Return those of ``names`` that are searched, with all that decide on them, in `order`."""
        wanted: set[str] = set()
        for name in reversed(self.order):
            if name in names or name in wanted:
                wanted |= {name, *self._required[name]}
        return [name for name in self.order if name in wanted]

    def points(self, possible: Mapping[str, Sequence[Value]]) -> Iterator[Point]:
        """Yield every combination of values that can come together, the last dimension of `order` fastest.

        Args:
            possible: values of some dimensions, and of all that decide on them (`closed`).
        """
        return self._extended({}, [name for name in self.order if name in possible], possible)

    def _extended(self, point: Point, names: Sequence[str], possible: Mapping[str, Sequence[Value]]) -> Iterator[Point]:
        # As many dimensions at once as are decided on by now.
        until = min(1, len(names))
        while until < len(names) and not self._required[names[until]].keys() & set(names[:until]):
            until += 1
        there, rest = [name for name in names[:until] if self.is_active(name, point)], names[until:]
        extended = (
            {**point, **dict(zip(there, values, strict=True))}
            for values in product(*(possible[name] for name in there))
        )
        if not rest:
            yield from extended
            return
        for further in extended:
            yield from self._extended(further, rest, possible)

    def corners(self, name: str) -> list[Value]:
        """Return all values of a list, and of a range its bounds and what others depend on; in canonical form."""
        dimension, field = self._search[name], search_field(name)
        values = listed_values(dimension) if isinstance(dimension, Grid | Choice) else range_bounds(dimension)
        return list(dict.fromkeys([*map(field.canonical, values), *self.decisive(name)]))

    def decisive(self, name: str) -> list[Value]:
        """Return the values of a dimension that others depend on."""
        return list(dict.fromkeys(value for required in self._required.values() for value in required.get(name, ())))

    def branches(self) -> Iterator[Branch]:
        """Yield the branches of the space: each point is in one of them."""
        return self._branches(0, {}, 1, 1, ())

    def _branches(
        self, index: int, point: Point, num_points: int | None, rarity: int | None, names: tuple[str, ...]
    ) -> Iterator[Branch]:
        if index == len(self.order):
            yield Branch(num_points, rarity, names)
            return
        name = self.order[index]
        if not self.is_active(name, point):
            yield from self._branches(index + 1, point, num_points, rarity, names)
            return
        size = dimension_size(self._search[name])
        there, rarer = (*names, name), _times(rarity, size)
        decisive = self.decisive(name)
        if not decisive:
            yield from self._branches(index + 1, point, _times(num_points, size), rarer, there)
            return
        for value in decisive:
            yield from self._branches(index + 1, point | {name: value}, num_points, rarer, there)
        if size is not None and size > len(decisive):
            yield from self._branches(index + 1, point, _times(num_points, size - len(decisive)), rarer, there)


def space_size(spec: StudySpec) -> int | None:
    """Return the number of points of a study's space; None where a dimension is continuous."""
    sizes = [branch.num_points for branch in Conditions(spec).branches()]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def check_conditions(spec: StudySpec) -> None:
    """Check that every condition can hold, and that none of them go in a circle.

    Raises:
        RuleError: the first that cannot.
    """
    for name, dimension in spec.search.items():
        for decider, values in dimension.when.items():
            _check_condition(spec, name, decider, values)
    _check_parameters(spec)
    conditions = Conditions(spec)
    there = {name for branch in conditions.branches() for name in branch.names}
    for name in conditions.order:
        if name not in there:
            rule = "no trial has all that is asked here: the conditions exclude each other"
            raise RuleError(("search", name, "when"), rule)


def _check_parameters(spec: StudySpec) -> None:
    """Refuse to search a parameter that none of the entries has which trials can select."""
    for name in spec.search:
        selector = selector_of(name)
        if selector is None:
            continue
        selectable = possible_values(spec, selector)
        if not any(is_parameter_of(name, value) for value in selectable):
            key, names = selector.rpartition(".")[2], " or ".join(map(repr, selectable))
            having = " or ".join(entry.wording for entry in entries_having(name))
            rule = f"has no effect with {key} {names}; possible: with {having}"
            raise RuleError(("search", name), rule)


def _check_condition(spec: StudySpec, name: str, decider: str, values: Sequence[Value]) -> None:
    path = ("search", name, "when", decider)
    if decider not in spec.search:
        others = [other for other in spec.search if other != name]
        raise RuleError(path, f"is not searched, so nothing depends on it; {alternatives(decider, others)}")
    dimension = spec.search[decider]
    if dimension_size(dimension) is None:
        raise RuleError(path, "is a continuous range here; a condition needs a grid, choice, int, or uniform with step")
    for value in values:
        try:
            canonical = search_field(decider).canonical(value)
        except ValueError as error:
            raise RuleError(path, str(error)) from None
        if not holds(decider, dimension, canonical):
            possible = [_written(other) for other in dimension_values(decider, dimension) or []]
            more = f", … ({len(possible)} in all)" if len(possible) > MAX_NAMED else ""
            listed = ", ".join(possible[:MAX_NAMED])
            raise RuleError(path, f"{_written(value)} is no value of search.{decider}; possible: {listed}{more}")
        if decider == selector_of(name) and not is_parameter_of(name, canonical):
            key, names = name.rpartition(".")[2], ", ".join(entry.wording for entry in entries_having(name))
            raise RuleError(path, f"{_written(value)} has no parameter {key!r}; possible: {names}")


def _written(value: Value) -> str:
    return str(list(value)) if isinstance(value, tuple) else shown(value)


def _required(spec: StudySpec, name: str) -> dict[str, tuple[Value, ...]]:
    """Return the values, in canonical form, that other dimensions must have for this one to be there."""
    when = spec.search[name].when.items()
    required = {decider: tuple(map(search_field(decider).canonical, values)) for decider, values in when}
    if (selector := selector_of(name)) is not None and selector in spec.search:
        possible = required.get(selector) or dimension_values(selector, spec.search[selector]) or []
        required[selector] = tuple(value for value in possible if is_parameter_of(name, value))
    return required


def _deciders_first(required: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    order: list[str] = []
    left = list(required)
    while left:
        ready = next((name for name in left if all(decider in order for decider in required[name])), None)
        if ready is None:
            circle = " depends on ".join(_circle(required, left))
            raise RuleError(("search", left[0], "when"), f"{circle}: conditions must not go in a circle")
        order.append(ready)
        left.remove(ready)
    return tuple(order)


def _circle(required: Mapping[str, Iterable[str]], left: Collection[str]) -> list[str]:
    chain = [next(iter(left))]
    while chain[-1] not in chain[:-1]:
        chain.append(next(decider for decider in required[chain[-1]] if decider in left))
    return chain[chain.index(chain[-1]) :]


def _times(number: int | None, size: int | None) -> int | None:
    return None if number is None or size is None else math.prod((number, size))
