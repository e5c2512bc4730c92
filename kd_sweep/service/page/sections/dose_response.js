// An outcome by augmentation strength: for each size and other setting the mean over seeds, with its interval.
import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { useData } from "../app/live.js";
import { ProblemLine, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { shown, within, words } from "../app/wording.js";
import { CurveTable, LineChart, Sample } from "../charts/line_chart.js";

const MOST_LINES = 24; // so many can be told apart
const STRENGTH = "augmentation_strength";
const OF_VIEW = new Set(["study", STRENGTH, "num_trials", "num_seeds", "mean", "std", "t_low", "t_high", "seeds", "values"]);

export function DoseResponse({ name, objective, params }) {
  const metric = params.get("metric") ?? objective ?? "val_accuracy";
  const path = `${apiPath("studies", name)}/queries/dose_response?format=columns&outcome=${encodeURIComponent(metric)}`;
  const answer = useData(path, (event) => event.name === name && event.kind === "progress");
  const isOfEpochsAlone = answer.problem?.status === 422; // such as the learning rate
  const found = useMemo(() => answer.data && linesOf(answer.data), [answer.data]);
  if (answer.data === null && !answer.problem) {
    return html`<section class="tall"><h2>By augmentation strength</h2><${Waiting} ...${answer} /></section>`;
  }
  if (isOfEpochsAlone || !found || found.x.length < 2) {
    return isOfEpochsAlone ? null : html`<${ProblemLine} of=${answer.problem} />`;
  }
  return html`<section><h2>By augmentation strength</h2>
    <${Chart} label=${`${words(metric)} by augmentation strength`} ...${found} isTable=${params.has("table")} />
    <p class="quiet">Line: mean over the seeds of completed trials. Band: its 95 % interval, of three seeds or more.
      ${found.numLines > MOST_LINES && `The first ${MOST_LINES} of ${found.numLines} settings.`}
      ${" "}${answer.data.remarks?.join(" ")}</p>
  </section>`;
}

function Chart({ label, x, lines, isTable }) {
  const [cursor, setCursor] = useState(null);
  const drawn = { label, x, xName: "Strength", lines, cursor };
  return html`
    <${LineChart} ...${drawn} setCursor=${setCursor} />
    <ul class="legend">${lines.map(({ name, index }) => html`<li key=${name}><${Sample} index=${index} /> ${name}</li>`)}</ul>
    ${isTable && html`<${CurveTable} ...${drawn} />`}`;
}

function linesOf({ columns, num_rows: numRows }) {
  const others = Object.keys(columns).filter((name) => !OF_VIEW.has(name));
  const varying = others.filter((name) => new Set(columns[name]).size > 1);
  const x = [...new Set(columns[STRENGTH] ?? [])].filter((value) => value !== null).sort((first, second) => first - second);
  const lines = new Map();
  for (let row = 0; row < numRows; row += 1) {
    const name = varying.map((one) => `${within(one)} ${shown(columns[one][row])}`).join(", ") || "all trials";
    if (!lines.has(name)) {
      const empty = () => new Array(x.length).fill(null);
      lines.set(name, { name, index: lines.size, values: empty(), low: empty(), high: empty() });
    }
    const at = x.indexOf(columns[STRENGTH]?.[row]);
    if (at < 0) continue;
    const line = lines.get(name);
    line.values[at] = columns.mean[row];
    line.low[at] = columns.t_low[row];
    line.high[at] = columns.t_high[row];
  }
  return { x, lines: [...lines.values()].slice(0, MOST_LINES), numLines: lines.size };
}
