"""The page on the service lists every route, with the role that it needs."""

from tests.project.pages import ROOT, sections, table_rows
from tests.service.http.route_roles import MATRIX


def test_every_route_is_on_the_page_with_its_role() -> None:
    text = sections(ROOT / "docs/service.md")["The API"]
    rows = {path.strip("`"): role for path, _, role in table_rows(text, "path", "what it does", "role")}
    expected = {
        f"{method} {path.removeprefix('/api/v1')}": "anybody" if role is None else role.value
        for (method, path), role in MATRIX.items()
    }
    assert rows == expected
