// SQL over the tables of all studies: a statement, its answer, and the answer as a file. The statement is in the address.
import { html, useState } from "../vendor/preact-htm.js";
import { setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, Waiting } from "../app/parts.js";
import { apiUrl } from "../app/requests.js";
import { count, shown } from "../app/wording.js";

const SHOWN = 500;
const LONGEST_LINK = 6000;
const EXAMPLES = [
  ["Best trials", "SELECT study, trial_id, augmentation_strength, ensemble_size, best_objective\nFROM trials ORDER BY best_objective DESC LIMIT 20"],
  ["Trials by status", "SELECT study, status, count(*) AS trials\nFROM trials GROUP BY ALL ORDER BY ALL"],
  ["Fidelity by strength and size", "SELECT study, augmentation_strength, ensemble_size,\n  avg(fidelity_val) AS fidelity, count(*) AS trials\nFROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL"],
  ["Failures", "SELECT study, trial_id, error FROM trials WHERE error IS NOT NULL"],
];

export function Sql({ params }) {
  const asked = params.get("query");
  const [text, setText] = useState(asked ?? EXAMPLES[0][1]);
  const query = asked ? `/sql?query=${encodeURIComponent(asked)}&format=` : null;
  const answer = useData(query && `${query}columns`);
  function run(event) {
    event.preventDefault();
    if (text === asked) answer.reload();
    setParams({ query: text });
  }
  function onKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  }
  return html`
    <${Heading} title="SQL" />
    <form onSubmit=${run}><section>
      <label for="sql">One statement that reads, in DuckDB's dialect</label>
      <textarea id="sql" class="editor" rows="6" spellcheck="false" autocapitalize="off" maxlength=${LONGEST_LINK}
        value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${onKey}></textarea>
      <p class="quiet">Tables: studies, trials, epochs, teachers, notes. Ctrl and Enter run it, too.</p>
      <div class="actions"><button class="primary">Run</button>
        ${EXAMPLES.map(([name, statement]) => html`<button key=${name} type="button" onClick=${() => setText(statement)}>${name}</button>`)}
      </div>
    </section></form>
    ${query && html`<section><h2>Answer</h2><${Waiting} ...${answer}>
      ${() => html`<${Answer} of=${answer.data} download=${(format) => apiUrl(`${query}${format}`)} />`}
    <//></section>`}`;
}

function Answer({ of, download }) {
  const names = Object.keys(of.columns);
  const numRows = Math.min(of.num_rows, SHOWN);
  const isNumber = (name) => of.columns[name].some((value) => typeof value === "number");
  const cut = of.truncated || of.num_rows > SHOWN ? `; ${count(numRows, "row")} here, all of them in the files` : "";
  const alignments = names.map((name) => (isNumber(name) ? "number" : null));
  return html`<p role="status">${count(of.num_rows, "row")}${of.truncated ? " or more" : ""}${cut}</p>
    <div class="actions">${["csv", "parquet", "arrow"].map((format) => html`<a key=${format} href=${download(format)}
      download=${`answer.${format}`}>${{ csv: "CSV", parquet: "Parquet", arrow: "Arrow" }[format]}</a>`)}</div>
    <div class="scroll" tabindex="0" role="region" aria-label="Answer"><table class="data">
      <thead><tr>${names.map((name, at) => html`<th key=${name} scope="col" class=${alignments[at]}>${name}</th>`)}</tr></thead>
      <tbody>${Array.from({ length: numRows }, (_, row) => html`<tr key=${row}>
        ${names.map((name, at) => html`<td key=${name} class=${alignments[at]}>${shown(of.columns[name][row])}</td>`)}</tr>`)}
      </tbody></table></div>`;
}
