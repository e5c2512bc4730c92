// The trade-off between the first two objectives of a study: its trials, and the front that no other trial beats.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { go, link } from "../app/address.js";
import { useData } from "../app/live.js";
import { ProblemLine, State, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, number, shown, within, words } from "../app/wording.js";
import { CurveTable, LineChart } from "../charts/line_chart.js";
import { ScatterChart } from "../charts/scatter_chart.js";

const ENDED = ["completed", "stopped"];
const BEFORE = ["study", "trial_id", "status"];

export function Pareto({ name, objectives }) {
  const [x, y] = objectives.map(({ metric, mode }) => ({ metric, name: words(metric), isLess: mode === "min" }));
  const isNew = (event) => event.name === name && event.kind === "progress";
  const front = useData(`${apiPath("studies", name)}/queries/pareto`, isNew);
  const query = new URLSearchParams({ format: "columns", outcomes: `${x.metric},${y.metric}` });
  const trials = useData(`${apiPath("studies", name)}/queries/parallel?${query}`, isNew);
  return html`<section><h2>${x.name} and ${within(y.metric)}</h2>
    <${ProblemLine} of=${trials.problem} />
    <${Waiting} ...${front} isTall>${() => (front.data.rows.length
      ? html`<${Front} ...${{ name, objectives, x, y }} rows=${front.data.rows} sample=${trials.data} />`
      : html`<p class="quiet">No trial has ended with a value of every objective yet.</p>`)}<//>
  </section>`;
}

// Returns the trials of a sample that have ended with a value of both objectives.
function ended({ columns, num_rows: numRows }, x, y) {
  const trials = Array.from({ length: numRows }, (_, at) => ({
    trial_id: columns.trial_id[at], status: columns.status[at], x: columns[x.metric][at], y: columns[y.metric][at],
  }));
  return trials.filter((trial) => ENDED.includes(trial.status) && trial.x !== null && trial.y !== null);
}

function Front({ name, objectives, x, y, rows, sample }) {
  const best = new Set(rows.map((row) => row.trial_id));
  const isClosed = objectives.length === 2;
  const title = (id, across, up) => `${id.slice(0, 8)}: ${x.name} ${number(across)}, ${within(y.metric)} ${number(up)}`;
  const point = (id, across, up) => ({ key: id, x: across, y: up, title: title(id, across, up) });
  const front = rows.map((row) => point(row.trial_id, row[x.metric], row[y.metric]));
  const trials = sample ? ended(sample, x, y) : [];
  const isSample = Boolean(sample?.remarks?.length);
  const points = trials.filter((row) => !best.has(row.trial_id)).map((row) => point(row.trial_id, row.x, row.y));
  const open = (id) => go(["studies", name, "trials", id]);
  const label = `${y.name} against ${within(x.metric)}: ${count(points.length, "trial")}, and ${front.length} that no other beats`;
  return html`
    <${ScatterChart} ...${{ label, x, y, points, front, isClosed, open }} />
    <p class="quiet">Squares: trials that no other beats, in the table below. Dots: other trials that have ended${isSample
      ? `, ${points.length} evenly over their ranks` : ""}. ${isClosed ? "Shaded: what the squares beat."
      : `There are ${objectives.length} objectives, and two axes: a square may look beaten here.`}</p>
    ${isClosed && html`<${DominatedArea} name=${name} />`}
    <${FrontTable} name=${name} rows=${rows} />`;
}

// How much of the box between the worst and the best values the trials dominate, and how that grew.
function DominatedArea({ name }) {
  const [cursor, setCursor] = useState(null);
  const answer = useData(`${apiPath("studies", name)}/queries/dominated_area?format=columns`, (event) => event.name === name && event.kind === "progress");
  const { num_trials: x, area } = answer.data?.columns ?? { num_trials: [], area: [] };
  const lines = useMemo(() => [{ name: "Dominated area", index: 0, values: area }], [answer.data]);
  if (answer.problem) return html`<${ProblemLine} of=${answer.problem} />`;
  if (!x.length) return null;
  const label = "Dominated area over finished trials";
  return html`<h3>Dominated area: <span class="figure">${number(area.at(-1))}</span></h3>
    <p class="quiet">Of the box between the worst and the best value of both objectives; 1 would be one trial that is best in both.</p>
    ${x.length > 1 && html`<${LineChart} label=${label} x=${x} xName="Finished trials" lines=${lines} cursor=${cursor} setCursor=${setCursor} isStepped />
      <details><summary>${label}, as a table</summary><${CurveTable} label=${label} x=${x} xName="Finished trials" lines=${lines} cursor=${cursor} /></details>`}`;
}

function FrontTable({ name, rows }) {
  const columns = Object.keys(rows[0]).filter((column) => !BEFORE.includes(column));
  return html`<div class="scroll high" tabindex="0" role="region" aria-label="Best trade-offs"><table class="data">
    <thead><tr><th scope="col">Trial</th><th scope="col">Status</th>
      ${columns.map((column) => html`<th key=${column} scope="col" class="number">${words(column)}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.trial_id}>
      <th scope="row"><a href=${link(["studies", name, "trials", row.trial_id])}><code>${row.trial_id.slice(0, 8)}</code></a></th>
      <td><${State} of=${row.status} /></td>
      ${columns.map((column) => html`<td key=${column} class="number">${shown(row[column])}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}
