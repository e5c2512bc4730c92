// A trial against its neighbours: those that differ from it in one setting, or in the seed alone, with what that changes.
import { html } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Folded, State, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { change, count, number, shown, words } from "../app/wording.js";

const PAUSE_MS = 5000;
const OF_VIEW = new Set(["study", "trial_id", "status", "varied", "own_value", "value"]);

export function Neighbours({ study, id, params }) {
  const path = params.has("neighbours") ? `${apiPath("studies", study)}/queries/neighbours?trial=${id}` : null;
  const answer = useData(path, (event) => event.name === study && event.kind === "progress", { pauseMs: PAUSE_MS });
  return html`<${Folded} title="Neighbours" param="neighbours" params=${params}>${() => html`
    <${Waiting} ...${answer}>${() => (answer.data.rows.length > 1
      ? html`<${Steps} study=${study} rows=${answer.data.rows} remarks=${answer.data.remarks} />`
      : html`<p class="quiet">No other trial differs from this one in a single setting.</p>`)}<//>`}<//>`;
}

function Steps({ study, rows: [own, ...others], remarks }) {
  const outcomes = Object.keys(own).filter((name) => !OF_VIEW.has(name));
  const trial = (id) => html`<a href=${link(["studies", study, "trials", id])}><code>${id.slice(0, 8)}</code></a>`;
  return html`<p class="quiet">${count(others.length, "trial")} that ${others.length === 1 ? "differs" : "differ"} from this one in a
      single setting, with how far the values are from its own. Those of another seed show how much is chance. ${remarks?.join(" ")}</p>
    <div class="scroll high" tabindex="0" role="region" aria-label="Neighbours"><table class="data">
    <thead><tr><th scope="col">Setting</th><th scope="col">Here</th><th scope="col">There</th><th scope="col">Trial</th><th scope="col">Status</th>
      ${outcomes.map((name) => html`<th key=${name} scope="col" class="number">${words(name)}</th>`)}<th scope="col">Compare</th></tr></thead>
    <tbody>
      <tr class="marked"><th scope="row">This trial</th><td>–</td><td>–</td><td>${trial(own.trial_id)}</td><td><${State} of=${own.status} /></td>
        ${outcomes.map((name) => html`<td key=${name} class="number">${number(own[name])}</td>`)}<td></td></tr>
      ${others.map((row) => html`<tr key=${row.trial_id}>
        <th scope="row">${words(row.varied)}</th><td>${shown(row.own_value)}</td><td>${shown(row.value)}</td>
        <td>${trial(row.trial_id)}</td><td><${State} of=${row.status} /></td>
        ${outcomes.map((name) => html`<td key=${name} class="number">${number(row[name])} <span class="change">${difference(row[name], own[name])}</span></td>`)}
        <td><a href=${link(["studies", study, "compare"], { trials: `${own.trial_id},${row.trial_id}` })}
          aria-label=${`Compare with ${row.trial_id.slice(0, 8)}`}>Compare</a></td>
      </tr>`)}</tbody>
  </table></div>`;
}

function difference(value, own) {
  return value === null || own === null ? "" : change(value - own);
}
