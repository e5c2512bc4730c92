"""Routes that show studies: the queue, one study, its study file, and whether a study file is sound."""

from typing import Annotated, Any

from fastapi import Query, Request, Response

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.service.http.answers.negotiation import is_known, not_modified
from kd_sweep.service.http.answers.study_bodies import OPENAPI_STUDY, Submitted
from kd_sweep.service.http.answers.study_content import shown_study, study_file, tag_of
from kd_sweep.service.http.answers.study_list import SORTS, StudyFilter, listed_studies
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import After, StudyName
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.queue.study_files import check
from kd_sweep.study.file.json_schema import json_schema
from kd_sweep.version import __version__

router = api_router("studies", ForViewers)


@router.get("/studies")
def studies(
    request: Request,
    state: Annotated[str | None, Query(description="Only submitted studies in this state.")] = None,
    by: Annotated[str | None, Query(description="Only what this one has submitted.")] = None,
    search: Annotated[str | None, Query(max_length=200, description="Only with this in name or submitter.")] = None,
    sort: Annotated[str, Query(description=f"By {', '.join(SORTS)}; behind a minus descending.")] = "-submitted_at",
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=500, description="The most studies.")] = 50,
) -> dict[str, Any]:
    """The studies, page by page: submitted ones, the newest first, then others in the root by name."""
    if state is not None and state not in STATES:
        raise QueryError(f"state: {state!r} is not a state; {alternatives(state, STATES, limit=len(STATES))}")
    if sort.removeprefix("-") not in SORTS:
        raise QueryError(f"sort: {sort!r} is nothing to sort by; {alternatives(sort, SORTS, limit=len(SORTS))}")
    return listed_studies(serving_of(request), StudyFilter(state, by, search, sort), after, limit)


@router.get("/studies/{name}", responses={304: {"description": "`If-None-Match` has the tag of this content."}})
def study(request: Request, response: Response, name: StudyName) -> Any:
    """A study: how it was submitted, how it stands and why, how far it has come. Its `ETag` is for `If-Match`."""
    content = shown_study(serving_of(request), name)
    tag = tag_of(content)
    if is_known(request, tag):
        return not_modified(tag)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    return content


@router.get("/studies/{name}/file", responses={200: {"content": {"application/yaml": {"schema": {"type": "string"}}}}})
def file_of_study(request: Request, name: StudyName) -> Response:
    """The study file as it was submitted, with its comments; of a study that was not, the frozen one."""
    return Response(study_file(serving_of(request), name), media_type="application/yaml")


@router.post("/check", openapi_extra=OPENAPI_STUDY)
def check_study(request: Request, body: Submitted) -> dict[str, Any]:
    """Whether a study file breaks no rule and this server allows it; the problem says what is wrong. Stores nothing."""
    checked = check(body.text(), serving_of(request).policy, body.archive)
    return {"name": checked.name, "num_trials": checked.num_trials}


@router.get("/schema")
def schema_of_studies() -> dict[str, Any]:
    """The JSON Schema of study files."""
    return json_schema()


@router.get("/service")
def service(request: Request) -> dict[str, Any]:
    """What this service is: its version and root, what it allows, and whether it can change anything."""
    serving = serving_of(request)
    policy = serving.policy
    return {
        "version": __version__,
        "root": str(serving.reading.root),
        "read_only": serving.read_only(),
        "not_working": serving.is_working(),
        "max_studies": serving.max_studies,
        "policy": {
            "allow_plugins": policy.allow_plugins,
            "allow_downloads": policy.allow_downloads,
            "data_folders": [str(folder) for folder in policy.data_folders],
            "max_slots": policy.max_slots,
            "max_trials": policy.max_trials,
        },
    }
