// The answer to a question as a table, so many rows at a time, and as files.
import { html, useState } from "../vendor/preact-htm.js";
import { count, shown } from "../app/wording.js";

const STEP = 500; // a browser lays out no more at once without a pause
const FORMATS = [["csv", "CSV"], ["parquet", "Parquet"], ["arrow", "Arrow"]];

// `download(format)` returns the URL of the whole answer.
export function Answer({ of, name, download }) {
  const [most, setMost] = useState(STEP);
  const names = Object.keys(of.columns);
  const here = of.num_rows;
  const numRows = Math.min(here, most);
  const isNumber = (column) => of.columns[column].some((value) => typeof value === "number");
  const alignments = names.map((column) => (isNumber(column) ? "number" : null));
  const isCut = of.truncated || here > numRows;
  return html`<p role="status">${count(here, "row")}${of.truncated ? " or more" : ""}${isCut
    ? `; the first ${numRows} are shown, the files have all` : ""}</p>
    ${(of.remarks ?? []).map((remark) => html`<p key=${remark} class="quiet">${remark}</p>`)}
    <div class="actions">${FORMATS.map(([format, text]) => html`<a key=${format} href=${download(format)}
      download=${`${name}.${format}`}>${text}</a>`)}</div>
    ${here > 0 && html`<div class="scroll high" tabindex="0" role="region" aria-label="Answer"><table class="data">
      <thead><tr>${names.map((column, at) => html`<th key=${column} scope="col" class=${alignments[at]}>${column}</th>`)}</tr></thead>
      <tbody>${Array.from({ length: numRows }, (_, row) => html`<tr key=${row}>
        ${names.map((column, at) => html`<td key=${column} class=${alignments[at]}>${shown(of.columns[column][row])}</td>`)}</tr>`)}
      </tbody></table></div>`}
    ${here > numRows && html`<p><button type="button" onClick=${() => setMost(most + STEP)}>Show ${Math.min(STEP, here - numRows)} more</button></p>`}`;
}
