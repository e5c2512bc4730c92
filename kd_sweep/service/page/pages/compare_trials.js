// Trials of a study against each other: what differs in their configurations, their curves, their values.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, Waiting } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { count, words } from "../app/wording.js";
import { CurveTable, LineChart, Sample } from "../charts/line_chart.js";
import { differingFields, metricRows, SideBySide } from "../sections/side_by_side.js";
import { MetricChoice, TableChoice, useMetrics } from "../sections/study_curves.js";
import { listIn } from "../sections/trial_columns.js";

const PAUSE_MS = 5000;
const MAIN = ["last_epoch", "train_s", "val_accuracy", "val_loss", "fidelity_val", "predictive_kl_val", "ece", "generalization_gap",
  "attention_overlap_student"];

export function CompareTrials({ parts: [, study], params }) {
  const ids = [...new Set(listIn(params, "trials") ?? [])];
  const isNew = (event) => event.name === study && (event.kind === "epochs" || event.kind === "progress");
  const paths = ids.map((id) => apiPath("studies", study, "trials", id));
  const answer = useData(ids.length > 1 ? paths.join(" ") : null, isNew, { read: (all) => readCompared(all.split(" ")), pauseMs: PAUSE_MS });
  return html`
    <p class="path"><a href=${link(["studies"])}>Studies</a> / <a href=${link(["studies", study], { pins: ids })}>${study}</a></p>
    <${Heading} title=${`${count(ids.length, "trial")} of ${study}`} />
    ${ids.length > 1
      ? html`<${Waiting} ...${answer}>${() => html`<${Compared} study=${study} params=${params} ...${answer.data} />`}<//>`
      : html`<p class="empty">Pin two trials or more in the <a href=${link(["studies", study], { pins: ids })}>table of trials</a>; here they are compared.</p>`}`;
}

async function readCompared(paths) {
  const [first, ...others] = await Promise.all(paths.map((path) => request("GET", path)));
  const ask = (table) => Promise.all(others.map(({ trial_id: id }) => request("GET", `${paths[0]}/comparison?table=${table}&with=${id}`)));
  const [settings, metrics] = await Promise.all([ask("settings"), ask("metrics")]);
  return { trials: [first, ...others], settings: differingFields(settings), metrics: metricRows(metrics) };
}

function Compared({ study, params, trials, settings, metrics }) {
  const sides = trials.map(({ trial_id: id }, index) => ({ key: id, name: html`<code>${id.slice(0, 8)}</code>`, href: link(["studies", study, "trials", id]), index }));
  const of = (name, read) => ({ name, values: trials.map(read) });
  const best = of("Best objective", (trial) => trial.best_objective);
  best.differences = best.values.map((value) => (value === null || best.values[0] === null ? null : value - best.values[0]));
  const values = [of("Status", (trial) => words(trial.status)), best, of("Best epoch", (trial) => trial.best_epoch),
    ...metrics.filter(({ column }) => MAIN.includes(column))];
  const others = metrics.filter(({ column }) => !MAIN.includes(column));
  return html`
    <section><h2>Configuration</h2>
      ${settings.length
        ? html`<${SideBySide} label="Configuration" heading="Field" sides=${sides} rows=${settings} />`
        : html`<p class="quiet">Their configurations are equal.</p>`}
    </section>
    <${Curves} study=${study} ids=${trials.map(({ trial_id: id }) => id)} params=${params} />
    <section><h2>Values</h2>
      <p class="quiet">After the last epoch of each, and how it differs from the first.</p>
      <${SideBySide} label="Values" heading="Value" sides=${sides} rows=${values} />
      <details class="choice"><summary>${count(others.length, "more value")}</summary>
        <${SideBySide} label="More values" heading="Value" sides=${sides} rows=${others} /></details>
    </section>`;
}

function Curves({ study, ids, params }) {
  const [cursor, setCursor] = useState(null);
  const metric = params.get("metric") ?? "val_accuracy";
  const path = apiPath("studies", study);
  const isNew = (event) => event.name === study && event.kind === "epochs";
  const answer = useData(`${path}/queries/curves?format=columns&metric=${encodeURIComponent(metric)}&trials=${ids}`, isNew);
  const metrics = useMetrics(study);
  const { x, lines } = useMemo(() => linesOf(answer.data?.columns, ids), [answer.data]);
  const drawn = { label: `${words(metric)} over epochs, by trial`, x, xName: "Epoch", lines, cursor };
  return html`<section><h2>Curves</h2>
    <div class="fields"><${MetricChoice} metric=${metric} names=${metrics} />
      <${TableChoice} isTable=${params.has("table")} /></div>
    <${Waiting} ...${answer} isTall>${() => (x.length
      ? html`<${LineChart} ...${drawn} setCursor=${setCursor} />
        <ul class="legend">${lines.map(({ name, index }) => html`<li key=${name}><${Sample} index=${index} /> <code>${name}</code></li>`)}</ul>
        ${params.has("table") && html`<${CurveTable} ...${drawn} />`}`
      : html`<p class="quiet">No epoch has a value of this metric yet.</p>`)}<//>
  </section>`;
}

function linesOf(columns, ids) {
  if (!columns) return { x: [], lines: [] };
  const x = [...new Set(columns.epoch)].sort((first, second) => first - second);
  const lines = ids.map((id, index) => {
    const own = new Map();
    columns.trial_id.forEach((one, row) => one === id && own.set(columns.epoch[row], columns.value[row]));
    return { name: id.slice(0, 8), index, values: x.map((epoch) => own.get(epoch) ?? null) };
  });
  return { x, lines };
}
