"""The route of a study's analysis: its verdicts, and the tables behind them."""

from typing import Annotated, Literal

from fastapi import Query, Request, Response
from starlette.concurrency import run_in_threadpool

from kd_sweep.errors import QueryError
from kd_sweep.service.http.analysing import Analysed, Analysing
from kd_sweep.service.http.answers.negotiation import OPENAPI_TABLE, WantedForm, is_known, not_modified, table_answer
from kd_sweep.service.http.answers.paging import MOST_ROWS
from kd_sweep.service.http.answers.table_forms import Form
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import StudyName

router = api_router("analysis", ForViewers)


@router.get("/studies/{name}/analysis", responses=OPENAPI_TABLE)
async def analysis(
    request: Request,
    name: StudyName,
    form: WantedForm,
    table: Annotated[
        Literal["verdicts", "effects", "arms", "correlations", "levels", "components", "interactions", "chain"],
        Query(description="Which of its tables."),
    ] = "verdicts",
    complete: Annotated[
        bool, Query(description="Effects and correlations of each level and setting, too, not only pooled ones.")
    ] = False,
) -> Response:
    """What `kd-sweep analyse` says of a study: verdicts with a sentence each, or a table behind them.

    In JSON `notes` say which trials count and what is assumed; it ends after 10,000 rows, and `truncated` says so.
    """
    analysing = request.app.state.analysing
    assert isinstance(analysing, Analysing)
    analysed = await analysing.of(name)
    return await run_in_threadpool(_answered, request, analysed, name, form, table, complete)


def _answered(request: Request, analysed: Analysed, name: str, form: Form, table: str, complete: bool) -> Response:
    if analysed.refusal is not None:
        raise QueryError(analysed.refusal)
    tag = f'{analysed.tag[:-1]}-{table}-{form}-{complete:d}"'
    if is_known(request, tag):
        return not_modified(tag)
    is_pooled = not complete and f"{table}-pooled" in analysed.tables
    shown = analysed.tables[f"{table}-pooled" if is_pooled else table]
    file = f"{name}-{table}"
    if form in (Form.JSON, Form.COLUMNS):
        is_cut = shown.num_rows > MOST_ROWS
        return table_answer(shown.slice(0, MOST_ROWS), form, file, tag=tag, notes=analysed.notes, truncated=is_cut)
    return table_answer(shown, form, file, tag=tag)
