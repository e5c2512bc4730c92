// The teachers of a study as a table, read once it is asked for.
import { html } from "../vendor/preact-htm.js";
import { useData } from "../app/live.js";
import { Folded, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, duration, shown, words } from "../app/wording.js";

const SHOWN = 200;
const PAUSE_MS = 5000;
const HEADINGS = { teacher_id: "Teacher", train_s: "Training", num_trials: "Trials", num_parameters: "Parameters" };
const CELLS = { train_s: duration, teacher_id: (id) => html`<code>${id.slice(0, 8)}</code>` };

export function Teachers({ name, params }) {
  const path = params.has("teachers") ? `${apiPath("studies", name)}/queries/teachers` : null;
  const isNew = (event) => event.name === name && event.kind === "progress";
  const teachers = useData(path, isNew, { pauseMs: PAUSE_MS });
  return html`<${Folded} title="Teachers" param="teachers" params=${params}>${() => html`
    <${Waiting} ...${teachers}>${() => (teachers.data.rows.length
      ? html`<${Rows} rows=${teachers.data.rows} />`
      : html`<p class="quiet">No teacher has been trained yet.</p>`)}<//>`}<//>`;
}

function Rows({ rows }) {
  const columns = Object.keys(rows[0]).filter((column) => column !== "study");
  const numbers = new Set(columns.filter((column) => rows.some((row) => typeof row[column] === "number")));
  const kind = (column) => (numbers.has(column) ? "number" : null);
  return html`<p class="quiet">${count(rows.length, "teacher")}${rows.length > SHOWN ? `; the first ${SHOWN}` : ""}</p>
    <div class="scroll high" tabindex="0" role="region" aria-label="Teachers"><table class="data">
    <thead><tr>${columns.map((column) => html`<th key=${column} scope="col" class=${kind(column)}>${HEADINGS[column] ?? words(column)}</th>`)}</tr></thead>
    <tbody>${rows.slice(0, SHOWN).map((row) => html`<tr key=${row.teacher_id}>
      ${columns.map((column) => html`<td key=${column} class=${kind(column)}>${(CELLS[column] ?? shown)(row[column])}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}
