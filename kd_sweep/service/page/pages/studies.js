// The list of studies: how each stands, how far it has come, who wants it, and what those in the queue wait for.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, ProblemLine, Progress, State, Waiting } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { duration, number, time, words } from "../app/wording.js";

const MOST_REASONS = 10;
const STATES = ["running", "queued", "pausing", "paused", "cancelled", "finished", "finished_with_failures",
  "budget_used", "failed"];

async function readList(path) {
  const page = await request("GET", path);
  const waiting = page.studies.filter((study) => study.waiting).slice(0, MOST_REASONS);
  const whole = await Promise.all(waiting.map((study) => request("GET", apiPath("studies", study.name)).catch(() => study)));
  const reasons = new Map(whole.map((study) => [study.name, study.waiting?.why]));
  return { ...page, reasons };
}

export function Studies({ params, canChange }) {
  const state = params.get("state") ?? "";
  const path = `/studies?limit=100${state ? `&state=${encodeURIComponent(state)}` : ""}`;
  const list = useData(path, ({ kind }) => kind === "study" || kind === "progress", { read: readList });
  const more = useMore(path, list.data);
  return html`
    <div class="title-row">
      <${Heading} title="Studies" />
      ${canChange && html`<a class="button primary" href=${link(["new"])}>New study</a>`}
    </div>
    <nav class="choices" aria-label="Studies by state">
      <a href=${link(["studies"])} aria-current=${state === "" ? "true" : null}>All</a>
      ${STATES.map((one) => html`<a key=${one} href=${link(["studies"], { state: one })}
        aria-current=${state === one ? "true" : null}>${words(one)}</a>`)}
    </nav>
    <${Waiting} ...${list}>
      ${() => html`<${List} studies=${[...list.data.studies, ...more.studies]} reasons=${list.data.reasons}
        isAll=${state === ""} canChange=${canChange} />`}
    <//>
    ${more.next && html`<p><button type="button" onClick=${more.read}>Show more</button></p>`}
    <${ProblemLine} of=${more.problem} />`;
}

function useMore(path, first) {
  const [more, setMore] = useState({ studies: [], next: null, problem: null });
  useEffect(() => setMore({ studies: [], next: null, problem: null }), [path]);
  const next = more.studies.length ? more.next : first?.next;
  async function read() {
    try {
      const page = await request("GET", `${path}&after=${encodeURIComponent(next)}`);
      setMore({ studies: [...more.studies, ...page.studies], next: page.next, problem: null });
    } catch (problem) {
      setMore({ ...more, problem });
    }
  }
  return { studies: more.studies, problem: more.problem, next, read };
}

function List({ studies, reasons, isAll, canChange }) {
  if (!studies.length) {
    const invitation = isAll && canChange ? html` <a href=${link(["new"])}>Submit the first one.</a>` : null;
    return html`<p class="empty">${isAll ? "No study yet." : "No study is in this state."}${invitation}</p>`;
  }
  return html`<table class="cards">
    <caption class="hidden">Studies, the newest first</caption>
    <thead><tr>
      <th scope="col">Study</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col">Best</th>
      <th scope="col">Time left</th><th scope="col">By</th>
    </tr></thead>
    <tbody>${studies.map((study) => html`<${Row} key=${study.name} study=${study} why=${reasons.get(study.name)} />`)}</tbody>
  </table>`;
}

function Row({ study, why }) {
  const { progress } = study;
  const reason = why ?? (study.waiting ? `position ${study.waiting.position}` : study.message);
  const isDone = !progress || progress.error;
  return html`<tr>
    <th scope="row"><a href=${link(["studies", study.name])}>${study.name}</a></th>
    <td data-label="State"><div><${State} of=${study.state} />${reason && html`<div class="reason">${reason}</div>`}</div></td>
    <td data-label="Progress"><${Progress} of=${progress} /></td>
    <td data-label="Best" class="figure">${isDone ? "–" : html`<div>
      ${number(progress.best_objective)}<div class="reason">${words(progress.objective_metric).toLowerCase()}</div></div>`}</td>
    <td data-label="Time left" class="figure">${isDone ? "–" : duration(progress.remaining_s)}</td>
    <td data-label="By">${study.is_submitted
      ? html`<div>${study.submitted_by}<div class="reason">${time(study.submitted_at)}</div></div>`
      : html`<span class="quiet">command line</span>`}</td>
  </tr>`;
}
