// What a study says: the verdicts on claims, a sentence each, and the effects behind them with their intervals.
import { html, useRef } from "../vendor/preact-htm.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiPath, apiUrl, request } from "../app/requests.js";
import { change, count, number, shown, words } from "../app/wording.js";
import { AnalysisTable } from "./analysis_table.js";

const PAUSE_MS = 15_000; // between two analyses while the study runs: they take the service seconds
const SIGNS = { supported: ["✓", "done"], refuted: ["×", "failed"], mixed: ["~", "waits"], undecided: ["?", "rests"] };
const FILES = ["verdicts", "effects", "arms", "correlations", "levels", "interactions", "chain", "components"];
const LEAST_SHOWN = 4;
const NOT_TESTED = "not tested";
const ARM = ["distillation_loss", "attention_maps"];
const VARIED = { augmentation_strength: "strength", student_strength: "student's strength", both_strengths: "strength of both", ensemble_size: "ensemble size" };

export function Verdicts({ name, progress, params }) {
  const path = `${apiPath("studies", name)}/analysis`;
  const seen = useRef(numEnded(progress));
  function isNew(event) {
    if (event.name !== name || event.kind !== "progress" || numEnded(event.progress) === seen.current) return false;
    seen.current = numEnded(event.progress);
    return true;
  }
  const hasEnded = numEnded(progress) > 0;
  const answer = useData(hasEnded ? path : null, isNew, { read, pauseMs: PAUSE_MS });
  const refusal = answer.problem?.status === 422 ? answer.problem.message : null; // such as a single strength
  const why = hasEnded ? refusal : "No trial has ended.";
  return html`<section><h2 id="verdicts">Verdicts and effects</h2>
    ${why
      ? html`<p class="quiet">There are none yet. ${why}</p>`
      : html`<${Waiting} ...${answer}>${() => html`
          <${Sentences} rows=${answer.data.verdicts} notes=${answer.data.notes} />
          <${Effects} rows=${answer.data.effects} />
          <${AnalysisTable} study=${name} table="arms" params=${params}
            empty="There are none: they need a control arm, or students without teachers, beside the others." />
          <${AnalysisTable} study=${name} table="correlations" params=${params}
            empty="There are none: they need three levels of something." />
          <${AnalysisTable} study=${name} table="levels" params=${params} empty="There are none: they need three levels of something." />
          <${AnalysisTable} study=${name} table="interactions" params=${params}
            empty="There are none: they need all combinations of two strengths with two ensemble sizes." />
          <${AnalysisTable} study=${name} table="chain" params=${params}
            empty="There are none: they need settings that several seeds were run with." />
          <${AnalysisTable} study=${name} table="components" params=${params}
            empty="There are none: they need seeds of the student that vary apart." />
          <${Files} name=${name} path=${path} />`}<//>`}
  </section>`;
}

async function read(path) {
  const verdicts = await request("GET", path);
  const effects = await request("GET", `${path}?table=effects`);
  return { verdicts: verdicts.rows, notes: verdicts.notes, effects: effects.rows };
}

function numEnded(counts) {
  return counts.num_completed + counts.num_stopped + counts.num_failed;
}

function Sentences({ rows, notes }) {
  const isOpen = ({ verdict }) => Number(verdict === "undecided"); // what is decided comes first
  const tested = rows.filter(({ verdict }) => verdict !== NOT_TESTED).sort((first, second) => isOpen(first) - isOpen(second));
  const numShown = Math.max(tested.filter((row) => !isOpen(row)).length, LEAST_SHOWN);
  const rest = tested.slice(numShown);
  const others = rows.filter(({ verdict }) => verdict === NOT_TESTED);
  return html`<p class="quiet">${notes[0]}</p>
    <ul class="verdicts" aria-label="Verdicts">${tested.slice(0, numShown).map((row, at) => html`<${Verdict} key=${at} row=${row} />`)}</ul>
    ${rest.length > 0 && html`<details><summary>${number(rest.length)} more undecided</summary>
      <ul class="verdicts">${rest.map((row, at) => html`<${Verdict} key=${at} row=${row} />`)}</ul></details>`}
    ${others.length > 0 && html`<details><summary>Not tested: ${count(others.length, "claim")}</summary>
      <ul class="verdicts">${others.map((row, at) => html`<${Verdict} key=${at} row=${row} />`)}</ul></details>`}
    ${notes.length > 1 && html`<details><summary>How to read it</summary>
      ${notes.slice(1).map((note) => html`<p key=${note}>${note}</p>`)}</details>`}`;
}

// A sentence is "Verdict: claim (…). …"; verdict and claim are set apart.
function Verdict({ row: { verdict, claim, sentence } }) {
  return html`<li><${Sign} of=${verdict} />
    <span><strong>${claim.charAt(0).toUpperCase() + claim.slice(1)}</strong>
      <span class="evidence">${sentence.slice(verdict.length + 2 + claim.length)}</span></span></li>`;
}

function Sign({ of }) {
  const [sign, kind] = SIGNS[of] ?? ["·", "rests"];
  return html`<span class=${`state state-${kind}`}><span aria-hidden="true">${sign}</span> ${words(of)}</span>`;
}

// A verdict in a table, with the effect that it is about.
export function Judged({ of: { verdict, effect, t_low: low, t_high: high } }) {
  const interval = low === null ? "" : ` (${between(low, high)})`;
  return html`<${Sign} of=${verdict} />${effect !== null && html`<div class="reason">${change(effect)}${interval}</div>`}`;
}

function Effects({ rows }) {
  if (!rows.length) return null;
  const arms = ARM.filter((arm) => new Set(rows.map((row) => row[arm]).filter((value) => value !== null)).size > 1);
  const hasNotes = rows.some(({ note }) => note);
  return html`<h3>Effects, lowest to highest level, paired by seed</h3>
    <div class="scroll high" tabindex="0" role="region" aria-label="Effects"><table class="data effects">
      <thead><tr><th scope="col">Outcome</th>${arms.map((arm) => html`<th key=${arm} scope="col">${words(arm)}</th>`)}
        <th scope="col">What varies</th>${["Effect", "95 % interval (t)", "Bootstrap", "Pairs", "Seeds"].map((heading) => html`<th
          key=${heading} scope="col" class="number">${heading}</th>`)}
        ${hasNotes && html`<th scope="col">Note</th>`}</tr></thead>
      <tbody>${rows.map((row, at) => html`<tr key=${at}>
        <th scope="row">${words(row.outcome)}</th>
        ${arms.map((arm) => html`<td key=${arm}>${shown(row[arm])}</td>`)}
        <td>${VARIED[row.varied] ?? words(row.varied)} ${number(row.from_level)} to ${number(row.to_level)}</td>
        <td class="number">${change(row.estimate)}</td>
        <td class="number">${between(row.t_low, row.t_high)}</td>
        <td class="number">${between(row.low, row.high)}</td>
        <td class="number">${number(row.num_pairs)}</td>
        <td class="number">${number(row.num_seeds)}</td>
        ${hasNotes && html`<td title=${row.note}>${row.note ?? ""}</td>`}
      </tr>`)}</tbody>
    </table></div>
    <p class="quiet">Each interval is on its own: of a hundred effects that are nothing, about five exclude zero. Verdicts are
      corrected for how many there are.</p>`;
}

function Files({ name, path }) {
  return html`<div class="actions">${FILES.map((table) => html`<a key=${table}
    href=${apiUrl(`${path}?table=${table}&complete=true&format=csv`)} download=${`${name}-${table}.csv`}>${words(table)} (CSV)</a>`)}
  </div>`;
}

function between(low, high) {
  return low === null ? "–" : `${change(low)} to ${change(high)}`;
}
