// Studies against each other: how they stand, what differs in their study files, their curves, values and verdicts.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { link, setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Folded, Heading, Progress, State, Waiting } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { count, number, within, words } from "../app/wording.js";
import { settingsOf } from "../charts/bands.js";
import { CurveTable, LineChart, Sample } from "../charts/line_chart.js";
import { differingFields, metricRows, SideBySide } from "../sections/side_by_side.js";
import { MetricChoice, TableChoice, useMetrics } from "../sections/study_curves.js";
import { LIST_BETWEEN, listIn } from "../sections/trial_columns.js";
import { Judged } from "../sections/verdicts.js";

const MOST = 6;
const PAUSE_MS = 15_000; // all pairs of trials are compared anew
const BY = ["augmentation_strength", "ensemble_size"];
const WHOSE = { student_strength: "student's strength", both_strengths: "both strengths" };

export function CompareStudies({ params }) {
  const names = [...new Set(listIn(params, "studies") ?? [])];
  const isNew = (event) => names.includes(event.name) && event.kind !== "epochs";
  const answer = useData(names.length > 1 ? names.join(LIST_BETWEEN) : null, isNew, { read: (all) => readCompared(all.split(LIST_BETWEEN)), pauseMs: PAUSE_MS });
  return html`
    <p class="path"><a href=${link(["studies"])}>Studies</a></p>
    <${Heading} title="Compare studies" />
    <${StudyChoice} names=${names} />
    ${names.length > 1
      ? html`<${Waiting} ...${answer}>${() => html`<${Compared} names=${names} params=${params} ...${answer.data} />`}<//>`
      : html`<p class="empty">Choose ${names.length ? "another study" : "two studies"}; here they are compared.</p>`}`;
}

async function readCompared(names) {
  const studies = await Promise.all(names.map((name) => request("GET", apiPath("studies", name))));
  const ask = (table) => Promise.all(names.slice(1).map((other) => request("GET",
    `${apiPath("studies", names[0], "comparison")}?table=${table}&with=${encodeURIComponent(other)}`)));
  const settings = await ask("settings");
  const metrics = await ask("metrics");
  return { studies, settings, metrics };
}

function StudyChoice({ names }) {
  const all = useData("/studies?limit=500");
  const put = (chosen) => setParams({ studies: chosen.join(LIST_BETWEEN) });
  const others = (all.data?.studies ?? []).filter(({ name, progress }) => progress && !names.includes(name)).map(({ name }) => name);
  return html`<div class="fields">
    <ul class="conditions" aria-label="Compared studies">${names.map((name) => html`<li key=${name}><button type="button"
      aria-label=${`Take away: ${name}`} onClick=${() => put(names.filter((one) => one !== name))}>${name} <span aria-hidden="true">×</span></button></li>`)}</ul>
    ${names.length < MOST && html`<label>Add <select value="" onChange=${(event) => put([...names, event.target.value])}>
      <option value="">a study</option>
      ${others.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select></label>`}
  </div>`;
}

function Compared({ names, params, studies, settings, metrics }) {
  const sides = names.map((name, index) => ({ key: name, name, href: link(["studies", name]), index: params.get("by") ? null : index }));
  const of = (name, read) => ({ name, values: studies.map(read) });
  const objectives = new Set(studies.map(({ progress }) => progress?.objective_metric));
  const standing = [
    of("State", ({ state }) => html`<${State} of=${state} />`),
    of("Progress", ({ progress }) => html`<${Progress} of=${progress} />`),
    of(objectives.size > 1 ? "Best objective" : `Best ${within([...objectives][0] ?? "objective")}`, ({ progress }) => (
      objectives.size > 1 ? `${number(progress?.best_objective)} (${within(progress?.objective_metric)})` : progress?.best_objective ?? null)),
    of("Epochs done", ({ progress }) => progress?.num_epochs ?? null),
  ];
  return html`
    <section><h2>How they stand</h2><${SideBySide} label="How they stand" heading="What" sides=${sides} rows=${standing} /></section>
    <section><h2>Study files</h2>${differingFields(settings).length
      ? html`<${SideBySide} label="Study files" heading="Field that differs" sides=${sides} rows=${differingFields(settings)} />`
      : html`<p class="quiet">Nothing differs but their names.</p>`}</section>
    <${Curves} names=${names} params=${params} objective=${studies[0].progress?.objective_metric} />
    <${Values} names=${names} answers=${metrics} />
    <${Verdicts} names=${names} params=${params} sides=${sides} />`;
}

// Means over pairs of trials, for each other study on its own: pairs with the first are not the same for all.
function Values({ names, answers }) {
  return html`<section><h2>Values</h2>${answers.map(({ rows, num_rows_of: numRows }, at) => html`<div key=${names[at + 1]}>
    <p class="quiet">Means over ${count(numRows.pairs, "pair")} of trials with equal settings and seed.
      ${" "}${count(numRows.only_first, "trial")} of ${names[0]} and ${number(numRows.only_second)} of ${names[at + 1]} have no counterpart.</p>
    ${rows.length > 0 && html`<${SideBySide} label=${`Values of ${names[0]} and ${names[at + 1]}`} heading="Value"
      sides=${[names[0], names[at + 1]].map((name) => ({ key: name, name, href: link(["studies", name]), index: null }))} rows=${metricRows([{ rows }])} />`}
  </div>`)}</section>`;
}

function Curves({ names, params, objective }) {
  const [cursor, setCursor] = useState(null);
  const metric = params.get("metric") ?? objective ?? "val_accuracy";
  const by = BY.includes(params.get("by")) ? params.get("by") : "";
  const isNew = (event) => names.includes(event.name) && event.kind === "epochs";
  const query = new URLSearchParams({ format: "columns", metric, by });
  const paths = names.map((name) => `${apiPath("studies", name)}/queries/bands?${query}`);
  const answer = useData(paths.join(" "), isNew, { read: (all) => Promise.all(all.split(" ").map((path) => request("GET", path))), pauseMs: PAUSE_MS });
  const metrics = useMetrics(names[0]);
  const { x, lines } = useMemo(() => linesOf(answer.data ?? [], names), [answer.data]);
  const drawn = { label: `${words(metric)} over epochs, by study`, x, xName: "Epoch", lines, cursor };
  return html`<section><h2>Curves</h2>
    <div class="fields"><${MetricChoice} metric=${metric} names=${metrics} />
      <label>Apart by <select value=${by} onChange=${(event) => setParams({ by: event.target.value })}>
        <option value="">study alone</option>
        ${BY.map((name) => html`<option key=${name} value=${name} selected=${name === by}>${within(name)}</option>`)}
      </select></label>
      <${TableChoice} isTable=${params.has("table")} /></div>
    <${Waiting} ...${answer} isTall>${() => (x.length
      ? html`<${LineChart} ...${drawn} setCursor=${setCursor} />
        <ul class="legend">${lines.map(({ name, index }) => html`<li key=${name}><${Sample} index=${index} /> ${name}</li>`)}</ul>
        <p class="quiet">Line: median of the trials. Band: from the 10 % to the 90 % quantile.</p>
        ${params.has("table") && html`<${CurveTable} ...${drawn} />`}`
      : html`<p class="quiet">No epoch has a value of this metric yet.</p>`)}<//>
  </section>`;
}

// The bands of all studies over the epochs of any.
function linesOf(answers, names) {
  const found = answers.map(({ columns, num_rows: numRows }) => settingsOf(columns, numRows));
  const x = [...new Set(found.flatMap(({ epochs }) => epochs))].sort((first, second) => first - second);
  const lines = found.flatMap(({ epochs, settings }, study) => settings.map((setting) => {
    const at = new Map(epochs.map((epoch, index) => [epoch, index]));
    const over = (values) => x.map((epoch) => (at.has(epoch) ? values[at.get(epoch)] : null));
    const name = settings.length > 1 ? `${names[study]}, ${setting.name}` : names[study];
    return { name, values: over(setting.values), low: over(setting.low), high: over(setting.high) };
  }));
  return { x, lines: lines.map((line, index) => ({ ...line, index })) };
}

function Verdicts({ names, params, sides }) {
  const paths = names.map((name) => `${apiPath("studies", name)}/analysis`);
  const answer = useData(params.has("verdicts") ? paths.join(" ") : null, () => false, { read: readVerdicts });
  return html`<${Folded} title="Verdicts" param="verdicts" params=${params}>${() => html`
    <${Waiting} ...${answer}>${() => html`<${SideBySide} label="Verdicts" heading="Claim" sides=${sides}
      rows=${verdictRows(answer.data)} />`}<//>`}<//>`;
}

// A study that cannot be analysed has the reason instead of verdicts.
async function readVerdicts(paths) {
  return Promise.all(paths.split(" ").map((path) => request("GET", path).catch((problem) => ({ rows: [], problem: problem.message }))));
}

function verdictRows(answers) {
  const key = ({ claim, outcome, varied, distillation_loss: loss, attention_maps: maps }) => [claim, outcome,
    WHOSE[varied], loss, maps].filter(Boolean).join("; ");
  const known = answers.map(({ rows }) => new Map(rows.map((row) => [key(row), row])));
  const all = [...new Set(known.flatMap((rows) => [...rows.keys()]))];
  return all.map((one) => ({
    name: one.charAt(0).toUpperCase() + one.slice(1),
    values: known.map((rows, at) => (rows.has(one) ? html`<${Judged} of=${rows.get(one)} />` : answers[at].problem ?? null)),
  }));
}
