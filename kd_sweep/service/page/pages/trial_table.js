// The trials of a study: sorted and filtered as the address says, page by page.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { link, setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { ProblemLine, State, Waiting } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { count, duration, shown, time, words } from "../app/wording.js";

const STATUSES = ["pending", "running", "completed", "stopped", "failed", "preempted", "lost", "interrupted"];
const ROWS = 50;
const BEFORE = ["trial_id", "status"];
const HEADINGS = { trial_id: "Trial", train_s: "Training", started_at: "Started" };
const SHOWN = { started_at: time, train_s: duration };

export function TrialTable({ name, objective, isLessBetter, params }) {
  const sort = params.get("sort") ?? (isLessBetter ? "best_objective" : "-best_objective");
  const [status, find] = [params.get("status"), params.get("find") ?? ""];
  const query = new URLSearchParams({ sort, limit: ROWS, format: "columns", ...(status ? { status } : {}) });
  const path = `${apiPath("studies", name)}/trials?${query}`;
  const trials = useData(path, (event) => event.name === name && event.kind === "progress");
  const more = useMoreRows(path, trials.data);
  return html`<section>
    <h2>Trials</h2>
    <div class="fields">
      <label>Status <select value=${status ?? ""} onChange=${(event) => setParams({ status: event.target.value })}>
        <option value="">Any</option>
        ${STATUSES.map((one) => html`<option key=${one} value=${one} selected=${one === status}>${words(one)}</option>`)}
      </select></label>
      <label>Contains <input type="search" value=${find} onInput=${(event) => setParams({ find: event.target.value })}
        placeholder="an id, a value" /></label>
    </div>
    <${Waiting} ...${trials}>
      ${() => html`<${Rows} rows=${[...rowsOf(trials.data), ...more.rows]} columns=${columnsOf(trials.data.columns, objective)}
        name=${name} sort=${sort} find=${find} hasMore=${Boolean(more.next)} />`}
    <//>
    ${more.next && html`<p><button type="button" onClick=${more.read}>Show more</button></p>`}
    <${ProblemLine} of=${more.problem} />
  </section>`;
}

function useMoreRows(path, first) {
  const [more, setMore] = useState({ rows: [], next: null, problem: null });
  useEffect(() => setMore({ rows: [], next: null, problem: null }), [path]);
  const next = more.rows.length ? more.next : first?.next;
  async function read() {
    try {
      const page = await request("GET", `${path}&after=${encodeURIComponent(next)}`);
      setMore({ rows: [...more.rows, ...rowsOf(page)], next: page.next, problem: null });
    } catch (problem) {
      setMore({ ...more, problem });
    }
  }
  return { ...more, next, read };
}

function rowsOf({ columns, num_rows: numRows }) {
  const names = Object.keys(columns);
  return Array.from({ length: numRows }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
}

// Returns the columns that are shown: settings, seed, how far, outcomes. Further searched fields stand behind the rest.
function columnsOf(columns, objective) {
  const added = Object.keys(columns).filter((name) => /^(data|augmentation|teacher|student|distillation|metrics)_/.test(name)
    && !["augmentation_strength", "teacher_accuracy", "metrics_version"].includes(name) && !name.endsWith("_source"));
  const wanted = [...BEFORE, "augmentation_strength", "ensemble_size", ...added, "seed", "last_epoch", "best_objective",
    objective, "val_accuracy", "fidelity_val", "train_s", "started_at"];
  return [...new Set(wanted)].filter((name) => name in columns);
}

function Rows({ rows, columns, name, sort, find, hasMore }) {
  const needle = find.trim().toLowerCase();
  const found = rows.filter((row) => !needle || columns.some((column) => text(row, column).toLowerCase().includes(needle)));
  const numbers = new Set(columns.filter((column) => rows.some((row) => typeof row[column] === "number")));
  const among = `${count(found.length, "trial")}${needle ? ` of ${rows.length}` : ""}${hasMore ? ", there are more" : ""}`;
  return html`<p class="quiet" role="status">${among}</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Trials"><table class="data">
    <thead><tr>${columns.map((column) => html`<${SortHeading} key=${column} column=${column} sort=${sort} isNumber=${numbers.has(column)} />`)}</tr></thead>
    <tbody>${found.map((row) => html`<tr key=${row.trial_id}>
      <th scope="row"><a href=${link(["studies", name, "trials", row.trial_id])}><code>${row.trial_id.slice(0, 8)}</code></a></th>
      ${columns.slice(1).map((column) => html`<td key=${column} class=${numbers.has(column) ? "number" : null}>
        ${column === "status" ? html`<${State} of=${row.status} />` : text(row, column)}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

function text(row, column) {
  return (SHOWN[column] ?? shown)(row[column]);
}

function SortHeading({ column, sort, isNumber }) {
  const direction = sort === column ? "ascending" : sort === `-${column}` ? "descending" : null;
  const next = direction === "descending" ? column : `-${column}`;
  const sign = { ascending: " ▲", descending: " ▼" }[direction];
  return html`<th scope="col" aria-sort=${direction} class=${isNumber ? "number" : null}>
    <button type="button" onClick=${() => setParams({ sort: next })}>${HEADINGS[column] ?? words(column)}<span aria-hidden="true">${sign}</span></button>
  </th>`;
}
