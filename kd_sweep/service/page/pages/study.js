// A study: how it stands, what can be done with it, its curves by setting, what it says, its trials.
import { html, useState } from "../vendor/preact-htm.js";
import { go, link } from "../app/address.js";
import { useData, useEvents } from "../app/live.js";
import { Action, Facts, Heading, ProblemLine, Progress, State, Waiting, WhenNear } from "../app/parts.js";
import { apiPath, apiUrl, readAhead, request } from "../app/requests.js";
import { duration, number, time, within, words } from "../app/wording.js";
import { DoseResponse } from "../sections/dose_response.js";
import { Parallel } from "../sections/parallel.js";
import { Pareto } from "../sections/pareto.js";
import { bandsPath, StudyCurves } from "../sections/study_curves.js";
import { StudyLog } from "../sections/study_log.js";
import { Teachers } from "../sections/teachers.js";
import { Timeline } from "../sections/timeline.js";
import { TrialTable } from "../sections/trial_table.js";
import { Verdicts } from "../sections/verdicts.js";

// What can be done in which state; the service has the last word.
const CHANGES = [
  { label: "Pause", wanted: "pause", states: ["queued", "running"] },
  { label: "Resume", wanted: "run", states: ["pausing", "paused", "cancelled"] },
  { label: "Cancel", wanted: "cancel", states: ["queued", "running", "pausing", "paused"],
    question: "Cancel it? What it has done stays." },
];
const EXTENDED = ["queued", "paused", "cancelled", "finished", "finished_with_failures", "budget_used", "failed"];
const RETRIED = ["finished_with_failures", "failed"];

// Begins to read what is shown first: how the study stands, and the curves that it opens with.
export async function readStudyAhead([, name], params) {
  readAhead(apiPath("studies", name)).catch(() => {});
  try {
    const objectives = listOf(await readAhead(objectivesPath(name)));
    await readAhead(bandsPath(name, params.get("metric") ?? objectives[0]?.metric ?? "val_accuracy"));
  } catch { /* it is asked for again, by what shows why there is no answer */ }
}

function objectivesPath(name) {
  return `/tables/studies?${new URLSearchParams({ study: name })}`;
}

export function Study({ parts: [, name], params, session, canChange }) {
  const path = apiPath("studies", name);
  const study = useData(path, (event) => event.name === name && event.kind === "study");
  useEvents((event) => { // what has come of it comes with the event itself
    if (event.name === name && event.kind === "progress") study.setData((data) => data && withProgress(data, event.progress));
  });
  const objective = study.data?.progress?.objective_metric;
  const objectives = useData(objective ? objectivesPath(name) : null);
  return html`
    <p class="path"><a href=${link(["studies"])}>Studies</a></p>
    <${Heading} title=${name} />
    <${Waiting} ...${study}>
      ${() => html`
        <${Standing} study=${study.data} />
        ${!canChange && html`<div class="actions"><${CompareLink} name=${name} /></div>`}
        ${canChange && html`<${Buttons} study=${study.data} isAdmin=${session.role === "admin"} reload=${study.reload} />`}
        ${study.data.progress && !study.data.progress.error && html`
          <${StudyCurves} name=${name} objective=${objective} params=${params} />
          <${WhenNear} title="By augmentation strength">${() => html`
            <${DoseResponse} name=${name} objective=${objective} params=${params} />`}<//>
          <${WhenNear} title="Verdicts and effects">${() => html`
            <${Verdicts} name=${name} progress=${study.data.progress} params=${params} />`}<//>
          <${Waiting} ...${objectives}>${() => html`
            ${listOf(objectives.data).length > 1 && html`<${WhenNear} title="Trade-off">${() => html`
              <${Pareto} name=${name} objectives=${listOf(objectives.data)} />`}<//>`}
            <${Parallel} name=${name} objective=${objective} params=${params} />
            <${WhenNear} title="Trials">${() => html`
              <${TrialTable} name=${name} objective=${objective} isLessBetter=${listOf(objectives.data)[0]?.mode === "min"} params=${params} />`}<//>`}<//>
          <${Timeline} name=${name} params=${params} />
          <${Teachers} name=${name} params=${params} />`}
        ${study.data.is_submitted && html`<${StudyLog} name=${name} params=${params} />`}
        <${Downloads} name=${name} hasTables=${study.data.progress !== null} />`}
    <//>`;
}

function withProgress(data, progress) {
  return { ...data, progress, state: data.is_submitted ? data.state : progress.status };
}

function listOf({ rows }) {
  return JSON.parse(rows[0]?.objectives ?? "[]");
}

function Standing({ study }) {
  const { progress } = study;
  const has = progress && !progress.error;
  return html`<section aria-label="How it stands"><${Facts} of=${[
    ["State", html`<${State} of=${study.state} />`],
    ["Why", study.waiting?.position ? study.waiting.why : study.message],
    ["Progress", html`<${Progress} of=${progress} />`],
    ["Seeds", has ? progress.seeds_judged : null],
    ["Running now", has && progress.num_running ? `${progress.num_running} trials` : null],
    [has ? `Best ${within(progress.objective_metric)}` : "Best", has ? number(progress.best_objective) : null],
    ["Epochs done", has ? number(progress.num_epochs) : null],
    ["Time left", has ? duration(progress.remaining_s) : null],
    ["Submitted", study.is_submitted ? `${time(study.submitted_at)} by ${study.submitted_by}` : null],
    ["Started", time(study.started_at)],
    ["Ended", time(study.ended_at)],
    ["Priority", study.priority],
    ["Slots", study.slots],
    ["Last change", has ? time(progress.updated_at) : null],
  ]} /></section>`;
}

function Buttons({ study, isAdmin, reload }) {
  const [problem, setProblem] = useState(null);
  const path = apiPath("studies", study.name);
  async function change(method, what, json) {
    try {
      await request(method, what, json ? { json } : {});
      setProblem(null);
      if (method === "DELETE") go(["studies"]);
    } catch (failure) {
      setProblem(failure);
    }
    await reload();
  }
  const possible = study.is_submitted ? CHANGES.filter(({ states }) => states.includes(study.state)) : [];
  return html`<div class="actions">
    ${possible.map(({ label, wanted, question }) => html`<${Action} key=${wanted} label=${label} question=${question}
      act=${() => change("PATCH", path, { wanted })} />`)}
    ${study.is_submitted && RETRIED.includes(study.state) && html`<${Action} key="retry" label="Retry what failed"
      act=${() => change("POST", `${path}/retry`)} />`}
    ${study.is_submitted && EXTENDED.includes(study.state) && html`<a class="button" key="extend"
      href=${link(["new"], { extend: study.name })}>Extend</a>`}
    <a class="button" href=${link(["new"], { like: study.name })}>New study like this</a>
    <${CompareLink} name=${study.name} />
    ${isAdmin && study.is_submitted && html`<${Action} key="delete" label="Delete" kind="danger"
      question="Delete it with all its results?" act=${() => change("DELETE", path)} />`}
    ${study.state === "queued" && html`<${Priority} of=${study.priority} set=${(priority) => change("PATCH", path, { priority })} />`}
  </div><${ProblemLine} of=${problem} />`;
}

function CompareLink({ name }) {
  return html`<a class="button" href=${link(["compare"], { studies: name })}>Compare</a>`;
}

function Priority({ of, set }) {
  function submit(event) {
    event.preventDefault();
    set(Number(new FormData(event.target).get("priority")));
  }
  return html`<form class="fields" onSubmit=${submit}>
    <label>Priority <input name="priority" type="number" step="1" required value=${of} /></label>
    <button>Set</button>
  </form>`;
}

function Downloads({ name, hasTables }) {
  const query = (table) => apiUrl(`/tables/${table}?study=${encodeURIComponent(name)}&format=parquet`);
  const tables = hasTables ? ["trials", "epochs", "teachers"] : [];
  return html`<section><h2>Files</h2><div class="actions">
    <a href=${apiUrl(`${apiPath("studies", name)}/file`)} download=${`${name}.yaml`}>Study file</a>
    ${tables.map((table) => html`<a key=${table} href=${query(table)} download=${`${name}-${table}.parquet`}>${words(table)} (Parquet)</a>`)}
  </div></section>`;
}
