// What of a study ran when and in which slot: a chart and a table, read once they are asked for.
import { html, useMemo } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Folded, State, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, duration, shown, stateWords, time, words } from "../app/wording.js";
import { SpanChart } from "../charts/span_chart.js";

const PAUSE_MS = 5000;
const MOST_ROWS = 64;
const SHOWN = 200;
const KINDS = { teacher: "Teachers", done: "Trials", runs: "Running", waits: "Interrupted", failed: "Failed" };

export function Timeline({ name, params }) {
  const path = params.has("timeline") ? `${apiPath("studies", name)}/queries/timeline` : null;
  const isNew = (event) => event.name === name && event.kind === "progress";
  const timeline = useData(path, isNew, { pauseMs: PAUSE_MS });
  return html`<${Folded} title="Slots over time" param="timeline" params=${params}>${() => html`
    <${Waiting} ...${timeline}>${() => (timeline.data.rows.length
      ? html`<${Slots} name=${name} answer=${timeline.data} />`
      : html`<p class="quiet">Nothing has run yet.</p>`)}<//>`}<//>`;
}

function Slots({ name, answer }) {
  const { rows, spans, began } = useMemo(() => spansOf(answer.rows), [answer]);
  const kinds = Object.keys(KINDS).filter((kind) => spans.some((span) => span.kind === kind));
  const label = `${count(answer.rows.length, "run")} of teachers and trials in ${count(rows.length, "slot")} over time, since ${time(began)}`;
  return html`
    <${SpanChart} label=${label} rows=${rows.slice(0, MOST_ROWS)} spans=${spans.filter(({ row }) => row < MOST_ROWS)} />
    <ul class="legend spans">${kinds.map((kind) => html`<li key=${kind}><svg width="14" height="14" aria-hidden="true"><rect
      class=${`span span-${kind}`} width="14" height="14" /></svg> ${KINDS[kind]}</li>`)}</ul>
    <p class="quiet">It began ${time(began)}. ${rows.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${rows.length} slots. ` : ""}${answer.remarks?.join(" ")}</p>
    <${SpanTable} name=${name} rows=${answer.rows} />`;
}

function spansOf(rows) {
  const second = (value) => Date.parse(value) / 1000;
  const began = Math.min(...rows.map((row) => second(row.began_at)));
  const isRunning = rows.some((row) => row.ended_at === null);
  const now = Math.max(isRunning ? Date.now() / 1000 : 0, ...rows.map((row) => second(row.ended_at ?? row.began_at)));
  const hosts = new Set(rows.map((row) => row.host));
  const slot = (row) => `${hosts.size > 1 ? `${row.host ?? "?"} ` : ""}${row.slot}`;
  const order = [...rows].sort((first, other) => String(first.host).localeCompare(String(other.host)) || first.slot - other.slot);
  const names = [...new Set(order.map(slot))];
  const spans = rows.map((row, at) => ({
    key: at,
    row: names.indexOf(slot(row)),
    start: second(row.began_at) - began,
    end: (row.ended_at === null ? now : second(row.ended_at)) - began,
    kind: row.kind === "teacher" ? "teacher" : stateWords(row.status)[1],
    title: `${words(row.kind)} ${row.id.slice(0, 8)}, slot ${slot(row)}, ${stateWords(row.status)[2].toLowerCase()}, from ${duration(second(row.began_at) - began)}, ${row.ended_at === null ? "" : "for "}${lasted(row)}`,
  })).sort((first, other) => first.row - other.row || first.start - other.start);
  return { rows: names, spans, began };
}

function lasted(row) {
  return row.ended_at === null ? "running" : duration((Date.parse(row.ended_at) - Date.parse(row.began_at)) / 1000);
}

function SpanTable({ name, rows }) {
  const last = rows.slice(-SHOWN).reverse();
  return html`<p class="quiet">${rows.length > SHOWN ? `The last ${SHOWN} of ${rows.length}, the newest first` : "The newest first"}</p>
    <div class="scroll high" tabindex="0" role="region" aria-label="Slots over time, as a table"><table class="data">
    <thead><tr><th scope="col">What</th><th scope="col">Status</th><th scope="col">Host</th><th scope="col" class="number">Slot</th>
      <th scope="col">Began</th><th scope="col" class="number">Took</th><th scope="col" class="number">Epochs</th>
      <th scope="col" class="number">Attempt</th></tr></thead>
    <tbody>${last.map((row, at) => html`<tr key=${at}>
      <th scope="row">${words(row.kind)} ${row.kind === "trial"
        ? html`<a href=${link(["studies", name, "trials", row.id])}><code>${row.id.slice(0, 8)}</code></a>`
        : html`<code>${row.id.slice(0, 8)}</code>`}</th>
      <td><${State} of=${row.status} /></td><td>${shown(row.host)}</td><td class="number">${row.slot}</td>
      <td>${time(row.began_at)}</td><td class="number">${lasted(row)}</td><td class="number">${row.num_epochs}</td>
      <td class="number">${shown(row.attempt)}</td>
    </tr>`)}</tbody>
  </table></div>`;
}
