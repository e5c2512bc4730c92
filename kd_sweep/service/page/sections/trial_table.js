// The trials of a study: sorted, filtered and pinned as the address says, page by page, with the columns that are chosen.
import { html, useEffect, useState } from "../vendor/preact-htm.js";
import { link, setParams } from "../app/address.js";
import { conditionsIn, setConditions, textOf, told } from "../app/conditions.js";
import { useData } from "../app/live.js";
import { ProblemLine, State, Waiting } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { count, duration, number, shown, time, words } from "../app/wording.js";
import { ColumnChoice, groupsOf, isField, LIST_BETWEEN, listIn } from "./trial_columns.js";

const STATUSES = ["pending", "running", "completed", "stopped", "failed", "preempted", "lost", "interrupted"];
const ROWS = 50;
const PAUSE_MS = 5000;
const ALWAYS = ["trial_id", "status"];
const HEADINGS = { trial_id: "Trial", train_s: "Training", started_at: "Started", finished_at: "Finished" };
const SHOWN = { started_at: time, finished_at: time, train_s: duration };
export const MOST_PINS = 8; // colours of curves

export function TrialTable({ name, objective, isLessBetter, params }) {
  const sort = params.get("sort") ?? (isLessBetter ? "best_objective" : "-best_objective");
  const [status, find, chosen] = [params.get("status"), params.get("find") ?? "", listIn(params, "columns")];
  const conditions = conditionsIn(params);
  const query = new URLSearchParams({ sort, limit: ROWS, format: "columns" });
  if (status) query.set("status", status);
  if (chosen) query.set("columns", [...new Set([...ALWAYS, ...chosen])]);
  for (const condition of conditions) query.append("where", textOf(condition));
  const isNew = (event) => event.name === name && event.kind === "progress";
  const path = `${apiPath("studies", name)}/trials?${query}`;
  const trials = useData(path, isNew, { isKept: true });
  const more = useMoreRows(path, trials.data);
  const rows = trials.data ? [...rowsOf(trials.data), ...more.rows] : [];
  const pins = listIn(params, "pins") ?? [];
  const elsewhere = trials.data ? pins.filter((id) => !rows.some((row) => row.trial_id === id)) : [];
  const paths = elsewhere.map((id) => apiPath("studies", name, "trials", id)).join(" ");
  const pinned = useData(paths || null, isNew, { read: readAll, pauseMs: PAUSE_MS, isKept: true });
  const columns = chosen ?? (trials.data ? usualColumns(Object.keys(trials.data.columns), objective) : []);
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
    <${Conditions} of=${conditions} />
    <${ColumnChoice} study=${name} label="Columns" groups=${Object.keys(groupsOf([]))} param="columns" chosen=${columns} />
    <${ProblemLine} of=${pinned.problem} />
    <${Waiting} ...${trials}>
      ${() => html`<${Rows} rows=${rows} numMatching=${trials.data.num_matching} pins=${pins}
        pinned=${(pinned.data ?? []).filter((row) => elsewhere.includes(row.trial_id))} columns=${["trial_id", ...columns]} name=${name} sort=${sort} find=${find} />`}
    <//>
    ${more.next && html`<p><button type="button" onClick=${more.read}>Show more</button></p>`}
    <${ProblemLine} of=${more.problem} />
  </section>`;
}

async function readAll(paths) {
  return Promise.all(paths.split(" ").map((path) => request("GET", path)));
}

function Conditions({ of }) {
  if (!of.length) return null;
  return html`<ul class="conditions" aria-label="Only trials with">
    ${of.map((one) => html`<li key=${textOf(one)}><button type="button" aria-label=${`Take away: ${told(one)}`}
      onClick=${() => setConditions(of.filter((other) => textOf(other) !== textOf(one)))}>${told(one)} <span aria-hidden="true">×</span></button></li>`)}
    <li><button type="button" class="plain" onClick=${() => setConditions([])}>All trials</button></li>
  </ul>`;
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

// Returns the columns that are shown unless others are chosen: settings, seed, how far, outcomes.
function usualColumns(names, objective) {
  const wanted = ["augmentation_strength", "ensemble_size", ...names.filter(isField), "seed", "status", "last_epoch", "best_objective",
    objective, "val_accuracy", "fidelity_val", "train_s", "started_at"];
  return [...new Set(wanted)].filter((name) => names.includes(name));
}

function Rows({ rows, numMatching, pins, pinned, columns, name, sort, find }) {
  const needle = find.trim().toLowerCase();
  const isFound = (row) => !needle || columns.some((column) => text(row, column).toLowerCase().includes(needle));
  const found = rows.filter((row) => pins.includes(row.trial_id) || isFound(row));
  const all = [...pinned, ...found];
  const numbers = new Set(columns.filter((column) => all.some((row) => typeof row[column] === "number")));
  return html`<div class="actions"><p class="quiet" role="status">${standing(rows, needle ? rows.filter(isFound).length : null, numMatching, pins)}</p>
      <${PinActions} name=${name} pins=${pins} /></div>
    <div class="scroll" tabindex="0" role="region" aria-label="Trials"><table class="data">
    <thead><tr><th scope="col" class="pin">Pin</th>
      ${columns.map((column) => html`<${SortHeading} key=${column} column=${column} sort=${sort} isNumber=${numbers.has(column)} />`)}</tr></thead>
    <tbody>${all.map((row) => html`<${Row} key=${row.trial_id} ...${{ row, name, columns, numbers, pins }} />`)}</tbody>
  </table></div>`;
}

// Pinned trials stay where they are in the order; those that it does not reach come first.
function standing(rows, numFound, numMatching, pins) {
  const some = rows.length < numMatching ? `the first ${number(rows.length)} of ${count(numMatching, "trial")}` : count(numMatching, "trial");
  const among = numFound === null ? some : `${number(numFound)} of ${some}`;
  return `${among.charAt(0).toUpperCase()}${among.slice(1)}${pins.length ? `; ${number(pins.length)} pinned` : ""}`;
}

function PinActions({ name, pins }) {
  if (!pins.length) return null;
  return html`${pins.length > 1
    ? html`<a class="button" href=${link(["studies", name, "compare"], { trials: pins.join(LIST_BETWEEN) })}>Compare ${pins.length} pinned trials</a>`
    : html`<span class="quiet">Pin another to compare them.</span>`}
    <button type="button" class="plain" onClick=${() => setParams({ pins: null })}>Unpin all</button>`;
}

function Row({ row, name, columns, numbers, pins }) {
  const id = row.trial_id;
  const isPinned = pins.includes(id);
  const toggle = () => setParams({ pins: (isPinned ? pins.filter((one) => one !== id) : [...pins, id]).join(LIST_BETWEEN) });
  return html`<tr class=${isPinned ? "pinned" : null}>
    <td class="pin"><input type="checkbox" checked=${isPinned} disabled=${!isPinned && pins.length >= MOST_PINS}
      aria-label=${`Pin trial ${id.slice(0, 8)}`} onChange=${toggle} /></td>
    <th scope="row"><a href=${link(["studies", name, "trials", id])}><code>${id.slice(0, 8)}</code></a></th>
    ${columns.slice(1).map((column) => html`<td key=${column} class=${numbers.has(column) ? "number" : null}>
      ${column === "status" ? html`<${State} of=${row.status} />` : text(row, column)}</td>`)}
  </tr>`;
}

function text(row, column) {
  return column in row ? (SHOWN[column] ?? shown)(row[column]) : ""; // a column that is being read
}

function SortHeading({ column, sort, isNumber }) {
  const direction = sort === column ? "ascending" : sort === `-${column}` ? "descending" : null;
  const next = direction === "descending" ? column : `-${column}`;
  const sign = { ascending: " ▲", descending: " ▼" }[direction];
  return html`<th scope="col" aria-sort=${direction} class=${isNumber ? "number" : null}>
    <button type="button" onClick=${() => setParams({ sort: next })}>${HEADINGS[column] ?? words(column)}<span aria-hidden="true">${sign}</span></button>
  </th>`;
}
