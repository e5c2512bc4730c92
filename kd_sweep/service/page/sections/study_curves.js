// The curves of a study: for each setting the middle and a band over its trials, of the metric in the address.
import { html, useMemo, useRef, useState } from "../vendor/preact-htm.js";
import { setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, words } from "../app/wording.js";
import { settingsOf } from "../charts/bands.js";
import { CurveTable, LineChart, Sample } from "../charts/line_chart.js";

const SHOWN_AT_FIRST = 6;
const BETWEEN = ";";

// Returns the names of the metrics that a study's epochs have; none until they are read, which `isWanted` begins.
export function useMetrics(study, isWanted = true) {
  const known = useData(isWanted ? `${apiPath("studies", study)}/queries/metrics?format=columns` : null);
  return known.data?.columns.metric ?? [];
}

// Returns the path of the bands of a study's metric, which its page shows first.
export function bandsPath(study, metric) {
  return `${apiPath("studies", study)}/queries/bands?format=columns&metric=${encodeURIComponent(metric)}`;
}

export function MetricChoice({ metric, names }) {
  const all = names.includes(metric) ? names : [metric, ...names];
  return html`<label>Metric
    <select value=${metric} onChange=${(event) => setParams({ metric: event.target.value })}>
      ${all.map((name) => html`<option key=${name} value=${name} selected=${name === metric}>${words(name)}</option>`)}
    </select></label>`;
}

export function TableChoice({ isTable }) {
  return html`<label><input type="checkbox" checked=${isTable}
    onChange=${(event) => setParams({ table: event.target.checked ? "1" : null })} /> As a table, too</label>`;
}

export function StudyCurves({ name, objective, params }) {
  const metric = params.get("metric") ?? objective ?? "val_accuracy";
  const isNew = (event) => event.name === name && event.kind === "epochs";
  const bands = useData(bandsPath(name, metric), isNew);
  const isDrawn = useRef(false);
  isDrawn.current ||= Boolean(bands.data || bands.problem);
  const names = useMetrics(name, isDrawn.current); // not before the curves
  return html`<section>
    <h2 id="curves">Curves by setting</h2>
    <div class="fields">
      <${MetricChoice} metric=${metric} names=${names} />
      <${TableChoice} isTable=${params.has("table")} />
    </div>
    <${Waiting} ...${bands} isTall>
      ${() => html`<${Curves} answer=${bands.data} metric=${metric} params=${params} />`}
    <//>
  </section>`;
}

// Returns so many of a list at most, from the first to the last: the first few settings may differ in little.
function evenly(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, at) => list[Math.round((at * (list.length - 1)) / (most - 1))]);
}

function Curves({ answer, metric, params }) {
  const [cursor, setCursor] = useState(null);
  const { epochs, settings } = useMemo(() => settingsOf(answer.columns, answer.num_rows), [answer]);
  const wanted = params.get("settings");
  const keys = wanted?.split(BETWEEN) ?? evenly(settings, SHOWN_AT_FIRST).map(({ key }) => key);
  const lines = useMemo(() => settings.filter(({ key }) => keys.includes(key)), [settings, wanted]);
  if (!epochs.length) return html`<p class="quiet">No epoch has a value of this metric yet.</p>`;
  const label = `${words(metric)} over epochs, by setting`;
  function toggle(key) {
    const next = keys.includes(key) ? keys.filter((one) => one !== key) : [...keys, key];
    setParams({ settings: next.join(BETWEEN) || "none" });
  }
  return html`
    <${LineChart} label=${label} x=${epochs} xName="Epoch" lines=${lines} cursor=${cursor} setCursor=${setCursor} />
    <fieldset class="legend"><legend class="hidden">Settings that are drawn</legend>
      ${settings.map(({ key, name, index, numTrials }) => html`<label key=${key}>
        <input type="checkbox" checked=${keys.includes(key)} onChange=${() => toggle(key)} />
        <${Sample} index=${index} /> <span>${name} <span class="quiet">${count(numTrials, "trial")}</span></span></label>`)}
    </fieldset>
    <p class="quiet">Line: median of a setting's trials. Band: from the 10 % to the 90 % quantile. ${answer.remarks?.join(" ")}</p>
    ${params.has("table") && html`<${CurveTable} label=${label} x=${epochs} xName="Epoch" lines=${lines} cursor=${cursor} />`}`;
}
