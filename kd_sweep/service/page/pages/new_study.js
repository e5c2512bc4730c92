// A new study, or a larger one in place of an old: its file as text, checked while it is written, with its cost.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { go, link } from "../app/address.js";
import { Heading, ProblemLine } from "../app/parts.js";
import { apiPath, request } from "../app/requests.js";
import { useData } from "../app/live.js";
import { count, duration, unmarked } from "../app/wording.js";
import { fieldAt, suggestFields } from "../editor/study_suggestions.js";
import { goToLine, lineIn, TextEditor } from "../editor/text_editor.js";
import { TEMPLATES } from "./study_templates.js";

const CHECK_MS = 500; // after the last key
const PLAN_MS = 1500;
const DRAFT = "kd_sweep draft";
export function NewStudy({ params, session, canChange }) {
  const extended = params.get("extend");
  const like = extended ?? params.get("like");
  const title = extended ? `Extend ${extended}` : like ? `New study like ${like}` : "New study";
  const [yaml, setYaml] = useState(like ? null : (draft() ?? TEMPLATES[0][1]));
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (like) request("GET", `${apiPath("studies", like)}/file`).then((text) => setYaml((now) => now ?? text), setProblem);
  }, [like]);
  return html`
    <p class="path"><a href=${link(["studies"])}>Studies</a></p>
    <${Heading} title=${title} />
    ${extended && html`<p>A larger search, more seeds, more budget: what is done already is not done again.</p>`}
    <${ProblemLine} of=${problem} />
    ${session.role === "viewer" && html`<p class="notice">It can be checked and planned here; whoever submits it needs the role operator.</p>`}
    ${yaml !== null && html`<${Editor} yaml=${yaml} setYaml=${setYaml} canChange=${canChange} extended=${extended} />`}`;
}

function Editor({ yaml, setYaml, canChange, extended }) {
  const { check, plan, problem } = useMessages(yaml);
  const [failure, setFailure] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const [field, setField] = useState(null);
  const schema = useData("/schema").data;
  const area = useRef();
  const key = useRef({ text: null, value: null });
  async function submit(event) {
    event.preventDefault();
    const fields = new FormData(event.target);
    const queue = { priority: Number(fields.get("priority") || 0), slots: Number(fields.get("slots")) || null };
    const json = extended ? { yaml } : { yaml, ...queue };
    const text = JSON.stringify(json);
    if (key.current.text !== text) key.current = { text, value: unique() }; // pressed twice, it makes one study
    setBusy(true);
    try {
      const path = extended ? `${apiPath("studies", extended)}/extend` : "/studies";
      const study = await request("POST", path, { json, headers: { "Idempotency-Key": key.current.value } });
      if (!extended) keepDraft("");
      go(["studies", study.name]);
    } catch (failed) {
      setFailure(failed);
      setBusy(false);
    }
  }
  function changed(text) {
    setYaml(text);
    setFailure(null);
    if (!extended) keepDraft(text);
  }
  const wrong = failure ?? problem;
  const line = lineIn(wrong?.message);
  return html`<form onSubmit=${submit}>
    <section>
      <div class="title-row"><label for="yaml">Study file (YAML)</label>
        ${!extended && html`<${Templates} yaml=${yaml} choose=${changed} />`}</div>
      <${TextEditor} id="yaml" field=${area} value=${yaml} rows="18" indents marked=${line} known=${schema} whenChanged=${changed}
        suggest=${(text, at, isAsked) => suggestFields(schema, text, at, isAsked)}
        whenMoved=${(text, at) => setField(fieldAt(schema, text, at))}
        aria-describedby="message keys" aria-invalid=${wrong !== null} />
      <${Field} of=${field} />
      <div id="message" aria-live="polite"><${Message} check=${check} problem=${wrong} />
        ${line && html`<button type="button" class="plain" onClick=${() => goToLine(area.current, line)}>Go to line ${line}</button>`}</div>
    </section>
    <section aria-live="polite"><h2>What it costs</h2><${Cost} plan=${plan} problem=${problem} /></section>
    ${canChange && html`<section><div class="fields">
      ${!extended && html`
        <label>Priority <input name="priority" type="number" step="1" value="0" /></label>
        <label>Slots <input name="slots" type="number" min="1" step="1" placeholder="as in the file" /></label>`}
      <button class="primary" disabled=${isBusy || !check}>${extended ? "Extend" : "Submit"}</button>
    </div></section>`}
  </form>`;
}

// What can be started from. It replaces the text, which the browser's undo does not bring back: one is asked first.
function Templates({ yaml, choose }) {
  const [wanted, setWanted] = useState(null);
  const isOwn = yaml.trim() !== "" && !TEMPLATES.some(([, text]) => text === yaml);
  function chosen(event) {
    const text = TEMPLATES[Number(event.target.value)]?.[1];
    if (text && isOwn) setWanted(text);
    else if (text) choose(text);
  }
  function replace() {
    choose(wanted);
    setWanted(null);
  }
  if (wanted) {
    return html`<span class="question" role="group" aria-label="Replace what is written?"><span>Replace what is written?</span>
      <button type="button" class="danger" onClick=${replace}>Replace</button>
      <button type="button" onClick=${() => setWanted(null)}>Keep it</button></span>`;
  }
  return html`<span class="fields"><label>Start from <select value=${TEMPLATES.findIndex(([, text]) => text === yaml)} onChange=${chosen}>
    <option value="-1">what is written</option>
    ${TEMPLATES.map(([name], at) => html`<option key=${name} value=${at}>${name}</option>`)}</select></label></span>`;
}

// What the field at the cursor means, and which keys help to write it.
function Field({ of }) {
  return html`<p class="field-help" id="keys">${of
    ? html`<code>${of.name}</code> ${of.facts && html`<span class="quiet">(${of.facts})</span>`} ${unmarked(of.text)}`
    : html`<span class="quiet">Fields and values are suggested while you type, and with Ctrl and Space; the arrow keys and
      Enter, or Tab, take one, Escape none.</span>`}</p>`;
}

// Returns what the service says of the text: `check` at once, `plan` when nobody has typed for a while.
function useMessages(yaml) {
  const [said, setSaid] = useState({ check: null, plan: null, problem: null });
  useEffect(() => {
    let isOld = false;
    const tell = (now) => !isOld && setSaid((before) => ({ ...before, ...now }));
    const fail = (problem) => tell({ check: null, plan: null, problem });
    let planned;
    const checked = setTimeout(async () => {
      try {
        tell({ check: await request("POST", "/check", { yaml }), problem: null });
      } catch (problem) {
        return fail(problem);
      }
      planned = setTimeout(async () => {
        if (isOld) return;
        try {
          tell({ plan: await request("POST", "/plan", { yaml }) });
        } catch (problem) {
          fail(problem);
        }
      }, PLAN_MS - CHECK_MS);
    }, CHECK_MS);
    setSaid((before) => ({ ...before, plan: null }));
    return () => {
      isOld = true;
      clearTimeout(checked);
      clearTimeout(planned);
    };
  }, [yaml]);
  return said;
}

function Message({ check, problem }) {
  if (problem) return html`<p class="problem">${problem.message}</p>`;
  if (!check) return html`<p class="quiet">Checking …</p>`;
  return html`<p><span class="state state-done"><span aria-hidden="true">✓</span> ${check.name}:</span> ${trials(check.num_trials)}, no rule is broken.</p>`;
}

function trials(number) {
  return number === null ? "trials as its sampler suggests" : count(number, "trial");
}

function Cost({ plan, problem }) {
  if (problem) return html`<p class="quiet">Known once the study file is sound.</p>`;
  if (!plan) return html`<p class="quiet">Being worked out …</p>`;
  const hours = plan.estimate?.hours;
  return html`${hours !== undefined && html`<p>About ${duration(hours * 3600)} of this machine.</p>`}
    <pre>${plan.lines.join("\n")}</pre>`;
}

function unique() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function draft() {
  try {
    return sessionStorage.getItem(DRAFT) || null;
  } catch {
    return null;
  }
}

function keepDraft(text) {
  try {
    sessionStorage.setItem(DRAFT, text);
  } catch { /* it is kept as long as the page */ }
}
