"""What people have added to the description of an RO-Crate and a later export keeps: authors, a licence, an agent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_sweep.errors import StorageError

Entity = dict[str, Any]
_LICENCE = "license"


def read_description(file: Path) -> Entity | None:
    """Return what describes a crate; None where there is no such file.

    Raises:
        StorageError: it is not JSON-LD with a graph. One line.
    """
    try:
        described = json.loads(file.read_bytes())
        graph = described["@graph"]
        if all(isinstance(entity["@id"], str) for entity in graph):
            return dict(described)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError):
        pass
    raise StorageError(
        f"{file}: is no JSON with a @graph of entities; mend it, or remove it and what was added is lost"
    )


def with_additions(described: Entity, before: Entity, unknown_licence: str) -> Entity:
    """Return the description with what was added to an earlier one by hand.

    That is every property that the new description uses nowhere, such as `author` and `agent`; a licence other than the
    unknown one; an unknown context's terms; and the entities to which these lead.

    Args:
        described: of today.
        before: of the crate until now.
        unknown_licence: the id of the one that stands where nobody has said any.
    """
    ours = {key for entity in described["@graph"] for key in entity}
    old = {entity["@id"]: entity for entity in before["@graph"]}
    graph, added = [], []
    for entity in described["@graph"]:
        own = {key: value for key, value in old.get(entity["@id"], {}).items() if key not in ours}
        licence = old.get(entity["@id"], {}).get(_LICENCE)
        if _LICENCE in entity and licence not in (None, entity[_LICENCE]) and licence != {"@id": unknown_licence}:
            own[_LICENCE] = licence
        graph.append(entity | own)
        added.append(own)
    known = {entity["@id"] for entity in graph}
    wanted = [one for own in added for one in _links(own)]
    while wanted:
        name = wanted.pop()
        if name in old and name not in known:
            known.add(name)
            graph.append(old[name])
            wanted += _links(old[name])
    terms = [one for one in _several(before.get("@context")) if one not in _several(described["@context"])]
    return {**described, "@context": [*_several(described["@context"]), *terms], "@graph": graph}


def _links(value: Any) -> Iterator[str]:
    """Yield the ids to which a value leads."""
    if isinstance(value, dict):
        if isinstance(value.get("@id"), str) and len(value) == 1:
            yield value["@id"]
        else:
            for key, one in value.items():
                if not key.startswith("@"):
                    yield from _links(one)
    elif isinstance(value, list):
        for one in value:
            yield from _links(one)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
