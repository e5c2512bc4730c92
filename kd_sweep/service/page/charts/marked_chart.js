// What makes a drawing of marks readable by keyboard: arrow keys go from mark to mark, which is ringed, shown and said.
import { html, useState } from "../vendor/preact-htm.js";

const PAGE = 10;

// Returns `{ at, props, reading }`: the mark under the cursor or null, attributes of the element around the drawing, and the
// line below it. `titles` are what is said of the marks, in their order; `open(at)` follows a mark.
export function useMarks(label, titles, open = null) {
  const [wanted, setAt] = useState(null);
  const at = wanted === null || !titles.length ? null : Math.min(wanted, titles.length - 1);
  function onKey(event) {
    const last = titles.length - 1;
    const steps = {
      ArrowLeft: (at ?? last + 1) - 1, ArrowUp: (at ?? last + 1) - 1, ArrowRight: (at ?? -1) + 1, ArrowDown: (at ?? -1) + 1,
      PageUp: (at ?? 0) - PAGE, PageDown: (at ?? 0) + PAGE, Home: 0, End: last,
    };
    if (event.key === "Enter" && at !== null && open) open(at);
    else if (event.key === "Escape") setAt(null);
    else if (event.key in steps && last >= 0) setAt(Math.min(Math.max(steps[event.key], 0), last));
    else return;
    event.preventDefault();
  }
  const keys = `Arrow keys go through what is drawn${open ? ", Enter opens it" : ""}.`;
  return {
    at,
    setAt,
    props: { tabindex: "0", role: "application", "aria-roledescription": "chart", "aria-label": `${label}. ${keys}`, onKeyDown: onKey },
    reading: html`<p class="reading quiet" aria-live="polite">${at === null ? "\u00a0" : `${at + 1} of ${titles.length}: ${titles[at]}`}</p>`,
  };
}
