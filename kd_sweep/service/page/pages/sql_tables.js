// The tables that SQL sees: their columns, with types and what they mean, to be searched and put into a statement.
import { html, useState } from "../vendor/preact-htm.js";
import { count, unmarked } from "../app/wording.js";

export function Tables({ of, insert }) {
  const [search, setSearch] = useState("");
  const wanted = search.trim().toLowerCase();
  const fits = ({ name, meaning }) => name.includes(wanted) || (meaning ?? "").toLowerCase().includes(wanted);
  return html`<details><summary>Tables and columns</summary>
    <div class="fields"><label>Find <input type="search" value=${search} placeholder="fidelity"
      onInput=${(event) => setSearch(event.target.value)} /></label></div>
    ${of.map(({ name, columns }) => html`<${Table} key=${name} name=${name} columns=${columns.filter(fits)} isOpen=${wanted !== ""} insert=${insert} />`)}
  </details>`;
}

function Table({ name, columns, isOpen, insert }) {
  if (!columns.length) return null;
  return html`<details class="columns" open=${isOpen}><summary><code>${name}</code>, ${count(columns.length, "column")}</summary>
    <div class="high" tabindex="0" role="region" aria-label=${`Columns of ${name}`}><dl>${columns.map((column) => html`<div key=${column.name}>
      <dt><button type="button" class="plain" title="Put it into the statement" onClick=${() => insert(column.name)}><code>${column.name}</code></button>
        <span class="reason">${column.type}</span></dt>
      <dd class="reason">${unmarked(column.meaning)}</dd></div>`)}</dl></div></details>`;
}
