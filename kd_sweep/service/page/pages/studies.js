// The list of studies: how each stands, how far it has come, who wants it, and what those in the queue wait for.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { link, setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, ProblemLine, Progress, State, Waiting } from "../app/parts.js";
import { request } from "../app/requests.js";
import { duration, number, time, words } from "../app/wording.js";

const SEARCH_MS = 300; // after the last key
const STATES = ["running", "queued", "pausing", "paused", "cancelled", "finished", "finished_with_failures",
  "budget_used", "failed"];
const ORDERS = [["", "Newest first"], ["submitted_at", "Oldest first"], ["name", "Name"], ["state", "State"],
  ["submitted_by", "Who submitted"], ["-priority", "Priority"]];

export function Studies({ params, session, canChange }) {
  const wanted = Object.fromEntries(["state", "search", "by", "sort"].map((name) => [name, params.get(name) ?? ""]));
  const query = new URLSearchParams({ limit: 100, ...given(wanted) });
  const path = `/studies?${query}`;
  const list = useData(path, ({ kind }) => kind === "study" || kind === "progress");
  const more = useMore(path, list.data);
  return html`
    <div class="title-row">
      <${Heading} title="Studies" />
      ${canChange && html`<a class="button primary" href=${link(["new"])}>New study</a>`}
    </div>
    <nav class="choices" aria-label="Studies by state">
      ${["", ...STATES].map((state) => html`<a key=${state} href=${link(["studies"], { ...wanted, state })}
        aria-current=${wanted.state === state ? "true" : null}>${state ? words(state) : "All"}</a>`)}
    </nav>
    <${Filters} wanted=${wanted} me=${session.name} />
    <${Waiting} ...${list}>
      ${() => html`<${List} studies=${[...list.data.studies, ...more.studies]}
        isAll=${!wanted.state && !wanted.search && !wanted.by} canChange=${canChange} />`}
    <//>
    ${more.next && html`<p><button type="button" onClick=${more.read}>Show more</button></p>`}
    <${ProblemLine} of=${more.problem} />`;
}

function given(wanted) {
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
}

function Filters({ wanted, me }) {
  const timer = useRef(null);
  function search(event) {
    const { value } = event.target;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setParams({ search: value.trim() }), SEARCH_MS);
  }
  return html`<div class="fields" role="search">
    <label>Name or person <input type="search" maxlength="200" value=${wanted.search} onInput=${search} /></label>
    <label>Order <select value=${wanted.sort} onChange=${(event) => setParams({ sort: event.target.value })}>
      ${ORDERS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
    </select></label>
    <label><input type="checkbox" checked=${wanted.by === me}
      onChange=${(event) => setParams({ by: event.target.checked ? me : "" })} /> Mine</label>
  </div>`;
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

function List({ studies, isAll, canChange }) {
  if (!studies.length) {
    const invitation = isAll && canChange ? html` <a href=${link(["new"])}>Submit the first one.</a>` : null;
    return html`<p class="empty">${isAll ? "No study yet." : "No study fits."}${invitation}</p>`;
  }
  return html`<table class="cards">
    <caption class="hidden">Studies</caption>
    <thead><tr>
      <th scope="col">Study</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col">Best</th>
      <th scope="col">Time left</th><th scope="col">By</th>
    </tr></thead>
    <tbody>${studies.map((study) => html`<${Row} key=${study.name} study=${study} />`)}</tbody>
  </table>`;
}

function Row({ study }) {
  const { progress } = study;
  const reason = study.waiting?.position ? study.waiting.why : study.message;
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
