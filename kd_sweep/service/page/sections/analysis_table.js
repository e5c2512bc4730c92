// A table behind the verdicts of a study, such as its correlations: read once it is opened.
import { html } from "../vendor/preact-htm.js";
import { setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, number, shown, words } from "../app/wording.js";

const SHOWN = 300;
const NAMES = new Set(["x", "y", "outcome", "mediator"]); // columns whose values are names of columns

export function AnalysisTable({ study, table, empty, params }) {
  const isOpen = params.has(table);
  const answer = useData(isOpen ? `${apiPath("studies", study)}/analysis?table=${table}` : null);
  return html`<details open=${isOpen} onToggle=${(event) => event.target.open !== isOpen && setParams({ [table]: event.target.open ? "1" : null })}>
    <summary>${words(table)}</summary>
    ${isOpen && html`<${Waiting} ...${answer}>${() => (answer.data.rows.length
      ? html`<${Rows} label=${words(table)} rows=${answer.data.rows} />`
      : html`<p class="quiet">${empty}</p>`)}<//>`}
  </details>`;
}

function Rows({ label, rows }) {
  const columns = Object.keys(rows[0]).filter((name) => name !== "study" && rows.some((row) => row[name] !== null));
  const numbers = new Set(columns.filter((name) => rows.some((row) => typeof row[name] === "number")));
  const kind = (name) => (numbers.has(name) ? "number" : null);
  const text = (row, name) => (NAMES.has(name) ? words(row[name]) : numbers.has(name) ? number(row[name], 3) : shown(row[name]));
  return html`<p class="quiet">${rows.length > SHOWN ? `The first ${SHOWN} of ${count(rows.length, "row")}; the CSV file has all.` : count(rows.length, "row")}</p>
    <div class="scroll high" tabindex="0" role="region" aria-label=${label}><table class="data">
    <thead><tr>${columns.map((name) => html`<th key=${name} scope="col" class=${kind(name)}>${words(name)}</th>`)}</tr></thead>
    <tbody>${rows.slice(0, SHOWN).map((row, at) => html`<tr key=${at}>${columns.map((name) => html`<td key=${name} class=${kind(name)}
      title=${name === "note" ? row[name] : null}>${text(row, name)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}
