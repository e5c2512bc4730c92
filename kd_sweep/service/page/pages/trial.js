// A trial: how it stands, its curves, where its networks look, its configuration, its error.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Facts, Heading, State, Waiting } from "../app/parts.js";
import { apiPath, apiUrl } from "../app/requests.js";
import { duration, number, shown, time, words } from "../app/wording.js";
import { CurveTable, LineChart } from "../charts/line_chart.js";
import { Attention } from "../sections/attention.js";
import { Neighbours } from "../sections/neighbours.js";
import { MetricChoice, TableChoice } from "../sections/study_curves.js";

const ENDED = new Set(["completed", "stopped", "failed"]);
const NO_METRICS = new Set(["study", "trial_id", "epoch", "seed", "augmentation_strength", "ensemble_size",
  "metrics_version", "host", "pid", "attempt", "finished_at"]);

export function Trial({ parts: [, study, , id], params }) {
  const path = apiPath("studies", study, "trials", id);
  const isOwnEpoch = (event) => event.name === study && event.kind === "epochs"
    && (event.is_cut || event.columns.trial_id.some((one) => one.startsWith(id)));
  const hasEnded = () => ENDED.has(trial.data?.status); // then other trials' progress says nothing of this one
  const trial = useData(path, (event) => isOwnEpoch(event) || (event.name === study && event.kind === "progress" && !hasEnded()));
  const epochs = useData(`${path}/epochs?format=columns`, isOwnEpoch);
  return html`
    <p class="path"><a href=${link(["studies"])}>Studies</a> / <a href=${link(["studies", study])}>${study}</a></p>
    <${Heading} title=${`Trial ${id.slice(0, 8)}`} />
    <${Waiting} ...${trial}>${() => html`
      <${Standing} trial=${trial.data} />
      ${trial.data.error && html`<${Failure} trial=${trial.data} />`}
      <section><h2>Curve</h2><${Waiting} ...${epochs} isTall>
        ${() => html`<${Curve} columns=${epochs.data.columns} params=${params} />`}
      <//></section>
      <${Configuration} config=${trial.data.config} />
      <${Neighbours} study=${study} id=${trial.data.trial_id} params=${params} />
      <${Attention} study=${study} id=${trial.data.trial_id} />
      <section><h2>Files</h2><div class="actions">
        <a href=${apiUrl(`${path}/epochs?format=parquet`)} download=${`${id}-epochs.parquet`}>Epochs (Parquet)</a>
      </div></section>`}
    <//>`;
}

function Standing({ trial }) {
  return html`<section aria-label="How it stands"><${Facts} of=${[
    ["State", html`<${State} of=${trial.status} />`],
    ...Object.entries(trial.settings).map(([name, value]) => [words(name), shown(value)]),
    ["Epochs", `${trial.last_epoch ?? 0} of ${trial.num_epochs}`],
    ["Best objective", number(trial.best_objective)],
    ["Best epoch", trial.best_epoch],
    ["Validation accuracy", number(trial.val_accuracy)],
    ["Fidelity", number(trial.fidelity_val)],
    ["Started", time(trial.started_at)],
    ["Finished", time(trial.finished_at)],
    ["Training", duration(trial.train_s)],
    ["Attempts", trial.attempts],
    ["Host", trial.host],
    ["Id", html`<code>${trial.trial_id}</code>`],
  ]} /></section>`;
}

function Failure({ trial }) {
  return html`<section><h2>Error</h2><p class="problem">${trial.error}</p>
    ${trial.traceback && html`<details><summary>Traceback</summary><pre>${trial.traceback}</pre></details>`}
  </section>`;
}

// Returns the names of the columns of epochs that can be drawn.
function metricNames(columns) {
  const isNumber = (name) => columns[name].some((value) => typeof value === "number");
  return Object.keys(columns).filter((name) => !NO_METRICS.has(name) && isNumber(name));
}

function Curve({ columns, params }) {
  const [cursor, setCursor] = useState(null);
  const names = metricNames(columns);
  const metric = params.get("metric") ?? "val_accuracy";
  const values = columns[metric];
  const lines = useMemo(() => [{ name: words(metric), index: 0, values: values ?? [] }], [values]);
  const label = `${words(metric)} over epochs`;
  const hasValues = values?.some((value) => value !== null);
  return html`<div class="fields"><${MetricChoice} metric=${metric} names=${names} />
      <${TableChoice} isTable=${params.has("table")} /></div>
    ${hasValues
      ? html`<${LineChart} label=${label} x=${columns.epoch} xName="Epoch" lines=${lines} cursor=${cursor} setCursor=${setCursor} />`
      : html`<p class="quiet">No epoch has a value of this metric yet.</p>`}
    ${hasValues && params.has("table") && html`<${CurveTable} label=${label} x=${columns.epoch} xName="Epoch" lines=${lines} cursor=${cursor} />`}`;
}

function Configuration({ config }) {
  const sections = Object.entries(config).map(([name, value]) => [name, isSection(value) ? value : null, value]);
  const own = sections.filter(([, section]) => section === null).map(([name, , value]) => [words(name), shown(value)]);
  return html`<section><h2>Configuration</h2><${Facts} of=${own} />
    ${sections.filter(([, section]) => section).map(([name, section]) => html`<details key=${name}>
      <summary>${words(name)}</summary>
      <${Facts} of=${Object.entries(section).map(([field, value]) => [words(field), shown(value)])} />
    </details>`)}
  </section>`;
}

function isSection(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
