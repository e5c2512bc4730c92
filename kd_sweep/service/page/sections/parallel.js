// Settings and outcomes of all trials side by side, as parallel coordinates; brushes leave out lines here and rows of the table.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { boundsOf, conditionsIn, isWithin, setConditions, withBounds } from "../app/conditions.js";
import { useData } from "../app/live.js";
import { Folded, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { count, number, within, words } from "../app/wording.js";
import { axisOf } from "../charts/parallel_axes.js";
import { ParallelChart } from "../charts/parallel_chart.js";
import { ColumnChoice, listIn } from "./trial_columns.js";

const PAUSE_MS = 5000;
const MOST_OUTCOMES = 12;
const IS_TOUCHED = matchMedia("(pointer: coarse)").matches; // brushes are for what points exactly
const OF_VIEW = new Set(["study", "rank", "num_trials", "trial_id", "status"]);

export function Parallel({ name, objective, params }) {
  const outcomes = listIn(params, "outcomes");
  const query = new URLSearchParams({ format: "columns", ...(outcomes?.length ? { outcomes } : {}) });
  const path = params.has("parallel") ? `${apiPath("studies", name)}/queries/parallel?${query}` : null;
  const answer = useData(path, (event) => event.name === name && event.kind === "progress", { pauseMs: PAUSE_MS, isKept: true });
  return html`<${Folded} title="Parallel coordinates" param="parallel" params=${params}>${() => html`
    <${Waiting} ...${answer} isTall>${() => (answer.data.num_rows
      ? html`<${Coordinates} ...${{ name, objective, params }} answer=${answer.data} />`
      : html`<p class="quiet">No trial has a value of the objective yet.</p>`)}<//>`}<//>`;
}

function Coordinates({ name, objective, params, answer }) {
  const [draft, setDraft] = useState(null); // while a brush or a slider moves
  const conditions = draft ?? conditionsIn(params);
  const axes = useMemo(() => axesOf(answer), [answer]);
  const bounds = axes.map(({ column }) => boundsOf(conditions, column));
  const pins = listIn(params, "pins") ?? [];
  const rows = rowsOf(answer, axes, conditions, pins);
  const numShown = rows.filter((row) => row.isShown).length;
  function brush({ column }, next, isDone) {
    const changed = withBounds(conditionsIn(params), column, next);
    setDraft(isDone ? null : changed);
    if (isDone) setConditions(changed);
  }
  return html`
    <${ParallelChart} label=${`Parallel coordinates of ${count(rows.length, "trial")}`} ...${{ axes, rows, bounds, brush }} />
    <p class="figure" role="status">${numShown < rows.length ? `${number(numShown)} of ${count(rows.length, "trial")} let through` : count(rows.length, "trial")}.
      ${" "}<span class="quiet">${answer.remarks?.join(" ")} ${pins.length > 0 && "Pinned trials that are among them are thick."}</span></p>
    <p class="ranks quiet"><span>best ${within(objective)}</span>
      <span class="ramp" aria-hidden="true">${[1, 2, 3, 4, 5].map((step) => html`<i key=${step} class=${`rank-${step}`}></i>`)}</span><span>worst</span></p>
    <p class="quiet">A line is a trial; the table of trials follows.${" "}
      ${IS_TOUCHED ? "Ranges leave out lines." : "Draw along an axis to keep a range, click it to let all through; or set ranges below."}</p>
    <details class="choice" open=${IS_TOUCHED}><summary>Ranges</summary><div class="ranges">
      ${axes.map((axis, index) => html`<${Range} key=${axis.column} axis=${axis} bounds=${bounds[index]} brush=${brush} />`)}
    </div></details>
    <${ColumnChoice} study=${name} label="Outcomes" groups=${["Outcomes"]} param="outcomes" most=${MOST_OUTCOMES}
      chosen=${listIn(params, "outcomes") ?? outcomesOf(answer)} />`;
}

// Two sliders for an axis of numbers, and a choice for one of names: what brushes do, by keyboard and by touch.
function Range({ axis, bounds, brush }) {
  if (axis.isText) {
    return html`<label>${axis.name} <select value=${bounds["="] ?? ""}
      onChange=${(event) => brush(axis, event.target.value ? { "=": event.target.value } : {}, true)}>
      <option value="">any</option>
      ${axis.steps.map((step) => html`<option key=${step} value=${step} selected=${step === bounds["="]}>${step}</option>`)}
    </select></label>`;
  }
  const last = axis.steps.length - 1;
  const first = axis.steps.findIndex((step) => step >= Number(bounds[">="] ?? -Infinity));
  const at = {
    ">=": first < 0 ? last : first,
    "<=": Math.max(axis.steps.findLastIndex((step) => step <= Number(bounds["<="] ?? Infinity)), 0),
  };
  function set(sign, step, isDone) {
    const next = sign === ">=" ? { ...at, ">=": Math.min(step, at["<="]) } : { ...at, "<=": Math.max(step, at[">="]) };
    brush(axis, { ">=": next[">="] === 0 ? null : axis.steps[next[">="]], "<=": next["<="] === last ? null : axis.steps[next["<="]] }, isDone);
  }
  const slider = (sign, end) => html`<input type="range" min="0" max=${last} step="1" value=${at[sign]} aria-label=${`${axis.name}, ${end}`}
    aria-valuetext=${number(axis.steps[at[sign]])} onInput=${(event) => set(sign, Number(event.target.value), false)}
    onChange=${(event) => set(sign, Number(event.target.value), true)} />`;
  return html`<div role="group" aria-label=${axis.name}><span>${axis.name} <span class="quiet figure">${number(axis.steps[at[">="]])} to ${number(axis.steps[at["<="]])}</span></span>
    ${slider(">=", "from")}${slider("<=", "up to")}</div>`;
}

function axesOf({ columns }) {
  const names = Object.keys(columns).filter((column) => !OF_VIEW.has(column));
  const varying = names.filter((column) => new Set(columns[column]).size > 1);
  return varying.map((column) => axisOf(column, words(column), columns[column]));
}

// Those behind the seed, which ends the settings.
function outcomesOf({ columns }) {
  const names = Object.keys(columns);
  return names.slice(names.indexOf("seed") + 1);
}

function rowsOf({ columns, num_rows: numRows }, axes, conditions, pins) {
  const own = [...new Set(conditions.map(({ column }) => column))].filter((column) => column in columns);
  const bounds = own.map((column) => [column, boundsOf(conditions, column)]);
  return Array.from({ length: numRows }, (_, row) => {
    const pin = pins.indexOf(columns.trial_id[row]);
    return {
      id: columns.trial_id[row],
      values: axes.map(({ column }) => columns[column][row]),
      share: (columns.rank[row] - 1) / Math.max(columns.num_trials[row] - 1, 1),
      isShown: bounds.every(([column, bound]) => isWithin(columns[column][row], bound)),
      pin: pin < 0 ? null : pin,
    };
  });
}
