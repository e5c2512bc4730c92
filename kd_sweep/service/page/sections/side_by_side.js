// What is compared, side by side: a column for each trial or study, a row for each thing that they have.
import { html } from "../vendor/preact-htm.js";
import { change, number, words } from "../app/wording.js";
import { Sample } from "../charts/line_chart.js";

const NAMES = { train_s: "Training (s)" };

// `sides` are `{ key, name, href, index }`; rows are `{ name, values, differences }`, all as long as `sides`. `index` is that of
// its curve, or null; differences are those from the first side.
export function SideBySide({ label, heading, sides, rows }) {
  const isNumber = (value) => typeof value === "number";
  return html`<div class="scroll high" tabindex="0" role="region" aria-label=${label}><table class="data sides">
    <thead><tr><th scope="col">${heading}</th>${sides.map(({ key, name, href, index }) => html`<th key=${key} scope="col">
      <a href=${href}>${index !== null && html`<${Sample} index=${index} />`}${name}</a></th>`)}</tr></thead>
    <tbody>${rows.map(({ name, values, differences = [] }) => html`<tr key=${name}>
      <th scope="row">${name}</th>
      ${values.map((value, at) => html`<td key=${sides[at].key} class=${values.some(isNumber) ? "number" : null}>${isNumber(value) ? number(value) : value ?? "–"}
        ${at > 0 && differences[at] !== null && differences[at] !== undefined && html` <span class="change">${change(differences[at])}</span>`}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

// Returns the rows of fields that differ, from the answers to `comparison` of the first side with each other one.
export function differingFields(answers) {
  const fields = [...new Set(answers.flatMap(({ rows }) => rows.map(({ field }) => field)))];
  const known = answers.map(({ rows }) => new Map(rows.map((row) => [row.field, row])));
  return fields.map((field) => {
    const first = known.find((rows) => rows.has(field)).get(field).first;
    return { name: field, values: [first, ...known.map((rows) => (rows.has(field) ? rows.get(field).second : first))] };
  });
}

// Returns the rows of metrics with how the others differ from the first, likewise.
export function metricRows(answers) {
  const columns = [...new Set(answers.flatMap(({ rows }) => rows.map(({ column }) => column)))];
  const known = answers.map(({ rows }) => new Map(rows.map((row) => [row.column, row])));
  return columns.map((column) => {
    const own = known.map((rows) => rows.get(column));
    return {
      column,
      name: NAMES[column] ?? words(column),
      values: [own.find(Boolean).first, ...own.map((row) => row?.second ?? null)],
      differences: [null, ...own.map((row) => row?.difference ?? null)],
    };
  });
}
