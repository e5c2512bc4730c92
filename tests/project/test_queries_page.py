"""The page on queries: parameters and columns of every view are those of the code."""

import pytest

from kd_sweep.tables.queries.named_queries import NAMED_QUERIES
from kd_sweep.tables.queries.named_query import QueryParameters
from tests.project.pages import ROOT, documented, sections

PAGE = ROOT / "docs/queries.md"


@pytest.mark.parametrize("name", [name for name, query in NAMED_QUERIES.items() if query.columns is not None])
def test_every_parameter_and_column_of_a_view_is_documented(name: str) -> None:
    query, text = NAMED_QUERIES[name], sections(PAGE)[f"`{name}`"]
    columns = [(column, kind) for column, kind, *_ in documented(text, "column", "type")]
    assert columns == [(field.name, str(field.type)) for field in query.columns]
    parameters = {parameter: default.strip("`") for parameter, default, *_ in documented(text, "parameter", "default")}
    own = query.parameters.model_fields.keys() - QueryParameters.model_fields.keys()
    assert parameters.keys() == own
    for parameter, default in parameters.items():
        given = {} if default == "none" else {parameter: default}
        assert query.parameters(**given) == query.parameters()
        assert (default == "none") == (getattr(query.parameters(), parameter) in (None, ()))


def test_no_other_named_query_has_parameters() -> None:
    others = [query for query in NAMED_QUERIES.values() if query.columns is None]
    assert {query.parameters for query in others} == {QueryParameters}
