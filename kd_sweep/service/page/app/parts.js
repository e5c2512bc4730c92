// Small parts that pages are made of: states, progress, problems, headings, buttons that ask first.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { setParams } from "./address.js";
import { count, number, stateWords } from "./wording.js";

export function State({ of }) {
  const [sign, kind, text] = stateWords(of);
  return html`<span class=${`state state-${kind}`}><span aria-hidden="true">${sign}</span> ${text}</span>`;
}

export function Progress({ of }) {
  if (!of) return html`<span class="quiet">nothing yet</span>`;
  if (of.error) return html`<span class="quiet">${of.error}</span>`;
  const done = of.num_completed + of.num_stopped;
  const total = Math.max(of.num_planned ?? of.num_trials, 1);
  const text = `${number(done)} of ${count(total, "trial")}${of.num_failed ? `, ${of.num_failed} failed` : ""}`;
  return html`<span class="progress">
    <progress value=${done} max=${total} aria-label=${text}></progress>
    <span>${text}</span>
  </span>`;
}

export function ProblemLine({ of }) {
  return of ? html`<p class="problem" role="alert">${of.message}</p>` : null;
}

// A page's heading: it is the tab's title, and has the focus when the page appears.
export function Heading({ children, title }) {
  const element = useRef();
  useEffect(() => {
    document.title = `${title} · kd_sweep`;
  }, [title]);
  useEffect(() => {
    if (document.activeElement === document.body || document.activeElement === null) element.current.focus();
  }, []);
  return html`<h1 tabindex="-1" ref=${element}>${children ?? title}</h1>`;
}

// What is shown of data that are read; `isTall` holds the room of a chart meanwhile, so that nothing below it moves.
export function Waiting({ data, problem, isTall = false, children }) {
  if (data !== null) return html`<${ProblemLine} of=${problem} />${children()}`;
  return problem ? html`<${ProblemLine} of=${problem} />` : html`<p class=${isTall ? "quiet tall" : "quiet"} role="status">Reading …</p>`;
}

// A section that is read once it is opened; the address says that it is. `children` is a function.
export function Folded({ title, param, params, children }) {
  const isOpen = params.has(param);
  return html`<section class="folded"><details open=${isOpen} onToggle=${(event) => event.target.open !== isOpen && setParams({ [param]: event.target.open ? "1" : null })}>
    <summary><h2>${title}</h2></summary>
    ${isOpen && children()}
  </details></section>`;
}

// A section that is read once it is nearly in sight: a visit costs what is looked at. Before, its title holds the room.
// `children` is a function.
export function WhenNear({ title, children }) {
  const room = useRef();
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && setNear(true), { rootMargin: "200px" });
    observer.observe(room.current);
    return () => observer.disconnect();
  }, []);
  return isNear ? children() : html`<section class="tall" ref=${room}><h2>${title}</h2></section>`;
}

// A list of facts: pairs of a name and what is shown for it; pairs without a value are left out.
export function Facts({ of }) {
  const known = of.filter(([, value]) => value !== null && value !== undefined && value !== "–" && value !== "");
  return html`<dl class="facts">
    ${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

// A button that does something at once, or, with `question`, after a second click.
export function Action({ label, question, act, kind = "" }) {
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  async function run() {
    setBusy(true);
    try {
      await act();
    } finally {
      setBusy(false);
      setAsking(false);
    }
  }
  if (isAsking) {
    return html`<span class="question" role="group" aria-label=${question}>
      <span>${question}</span>
      <button type="button" class="danger" disabled=${isBusy} onClick=${run}>${label}</button>
      <button type="button" onClick=${() => setAsking(false)}>Keep it</button>
    </span>`;
  }
  const begin = question ? () => setAsking(true) : run;
  return html`<button type="button" class=${kind} disabled=${isBusy} onClick=${begin}>${label}</button>`;
}
