// Statements that were run in this browser: kept in it alone, the newest first, until somebody clears them.
import { html, useState } from "../vendor/preact-htm.js";
import { time } from "../app/wording.js";

const KEY = "kd_sweep sql";
const MOST = 50;
const LONGEST = 6000;

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return found.filter((one) => typeof one?.query === "string").slice(0, MOST);
  } catch {
    return [];
  }
}

function store(entries) {
  try {
    if (entries.length) localStorage.setItem(KEY, JSON.stringify(entries));
    else localStorage.removeItem(KEY);
  } catch { /* it is kept as long as the page */ }
}

// Returns `{ entries, add, clear }`.
export function useHistory() {
  const [entries, setEntries] = useState(stored);
  function change(next) {
    store(next);
    setEntries(next);
  }
  return {
    entries,
    add: (query) => query.length <= LONGEST
      && change([{ query, at: Date.now() / 1000 }, ...stored().filter((one) => one.query !== query)].slice(0, MOST)),
    clear: () => change([]),
  };
}

export function History({ of, choose }) {
  if (!of.entries.length) return null;
  return html`<details><summary>History (${of.entries.length})</summary>
    <p class="quiet">Kept in this browser alone. <button type="button" class="plain" onClick=${of.clear}>Clear</button></p>
    <ul class="plain-list high">${of.entries.map(({ query, at }) => html`<li key=${query}>
      <button type="button" class="statement" onClick=${() => choose(query)}><code>${query}</code></button>
      <div class="reason">${time(at)}</div></li>`)}</ul></details>`;
}
