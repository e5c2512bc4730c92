// The page of the service: who is signed in, what the address shows, and what is said aloud when something changes.
import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { currentAddress, link, useAddress } from "./app/address.js";
import { startListening, stopListening, useData, useEvents } from "./app/live.js";
import { Heading, ProblemLine } from "./app/parts.js";
import { onSignedOut, openSession, signOut } from "./app/requests.js";
import { ThemeChoice } from "./app/theme_choice.js";
import { stateWords } from "./app/wording.js";
import { Cluster } from "./pages/cluster.js";
import { CompareStudies } from "./pages/compare_studies.js";
import { CompareTrials } from "./pages/compare_trials.js";
import { NewStudy } from "./pages/new_study.js";
import { SignIn } from "./pages/sign_in.js";
import { Sql } from "./pages/sql.js";
import { Studies } from "./pages/studies.js";
import { readStudyAhead, Study } from "./pages/study.js";
import { Trial } from "./pages/trial.js";

const PAGES = [
  { is: (parts) => parts.length === 0 || (parts[0] === "studies" && parts.length === 1), page: Studies },
  { is: (parts) => parts[0] === "studies" && parts.length === 2, page: Study, readAhead: readStudyAhead },
  { is: (parts) => parts[0] === "studies" && parts[2] === "trials" && parts.length === 4, page: Trial },
  { is: (parts) => parts[0] === "studies" && parts[2] === "compare" && parts.length === 3, page: CompareTrials },
  { is: (parts) => parts[0] === "compare" && parts.length === 1, page: CompareStudies },
  { is: (parts) => parts[0] === "new" && parts.length === 1, page: NewStudy },
  { is: (parts) => parts[0] === "cluster" && parts.length === 1, page: Cluster },
  { is: (parts) => parts[0] === "sql" && parts.length === 1, page: Sql },
];
const SECTIONS = [["studies", "Studies"], ["cluster", "Cluster"], ["sql", "SQL"]];

const first = currentAddress();
PAGES.find(({ is }) => is(first.parts))?.readAhead?.(first.parts, first.params);

function App() {
  const [session, setSession] = useState(undefined);
  const [problem, setProblem] = useState(null);
  const wasSignedIn = useRef(false);
  wasSignedIn.current ||= Boolean(session);
  useEffect(() => {
    onSignedOut(() => setSession((before) => (before?.proxy ? location.reload() : null)));
    openSession().then(setSession, setProblem);
  }, []);
  useEffect(() => {
    if (!session) return stopListening();
    startListening();
    return stopListening;
  }, [session?.name]);
  const address = useAddress();
  const main = useRef();
  async function leave() {
    await signOut().catch(() => {});
    setSession(null);
    wasSignedIn.current = false;
  }
  let shown = html`<p class="quiet" role="status">Reading …</p>`;
  if (problem) shown = html`<${Heading} title="kd_sweep" /><${ProblemLine} of=${problem} />`;
  else if (session === null) shown = html`<${SignIn} whenSignedIn=${setSession} hasEnded=${wasSignedIn.current} />`;
  else if (session) shown = html`<${Shown} ...${address} session=${session} />`;
  return html`
    <button type="button" class="skip" onClick=${() => main.current.focus()}>Skip to the content</button>
    <${Banner} session=${session} parts=${address.parts} leave=${leave} />
    <main tabindex="-1" ref=${main}>${shown}</main>
    <${Spoken} />`;
}

function Banner({ session, parts, leave }) {
  return html`<header>
    <a class="brand" href=${link([])}>kd_sweep</a>
    ${session && html`<nav aria-label="Sections">${SECTIONS.map(([name, text]) => html`<a key=${name} href=${link([name])}
      aria-current=${(parts[0] ?? "studies") === name ? "page" : null}>${text}</a>`)}</nav>`}
    <div class="who">
      ${session && html`<span class="quiet">${session.name} <span class="role">${session.role}</span></span>`}
      <${ThemeChoice} />
      ${session && html`<${SignOut} proxy=${session.proxy} leave=${leave} />`}
    </div>
  </header>`;
}

// Whom a proxy has signed in, it signs out.
function SignOut({ proxy, leave }) {
  if (!proxy) return html`<button type="button" class="plain" onClick=${leave}>Sign out</button>`;
  return proxy.sign_out && html`<a href=${proxy.sign_out}>Sign out</a>`;
}

function Shown({ parts, params, session }) {
  const service = useData("/service", ({ kind }) => kind === "heartbeat", { pauseMs: 30000 });
  const found = PAGES.find(({ is }) => is(parts));
  const canChange = session.role !== "viewer" && !service.data?.read_only;
  const content = found
    ? html`<${found.page} key=${parts.join("/")} parts=${parts} params=${params} session=${session} canChange=${canChange} />`
    : html`<${Heading} title="No such page" /><p><a href=${link(["studies"])}>All studies</a></p>`;
  return html`${service.data && html`<${Limits} of=${service.data} />`}${content}`;
}

// What this service cannot do now, and why.
function Limits({ of }) {
  if (of.read_only) {
    return html`<p class="notice" role="status"><strong>Read only:</strong> ${of.read_only}. Results can be read here;
      changes are refused.</p>`;
  }
  return of.not_working ? html`<p class="notice" role="status">${of.not_working}</p>` : null;
}

// What screen readers say when a study changes its state, and whether changes still come.
function Spoken() {
  const [text, setText] = useState("");
  const [isConnected, setConnected] = useState(true);
  const states = useRef(new Map());
  useEvents((event) => {
    if (event.kind === "connection") setConnected(event.isConnected);
    if (event.kind === "study" && states.current.get(event.name) !== event.state) {
      states.current.set(event.name, event.state);
      setText(`${event.name}: ${event.state === "deleted" ? "deleted" : stateWords(event.state)[2]}`);
    }
  });
  return html`
    <p class="hidden" aria-live="polite">${text}</p>
    ${!isConnected && html`<p class="offline" role="status">No connection to the service. What is shown may be old.</p>`}`;
}

render(html`<${App} />`, Object.assign(document.getElementById("app"), { textContent: "" }));
