// The log of a study: the end of what its drivers have printed, read once it is asked for.
import { html, useState } from "../vendor/preact-htm.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";

export function StudyLog({ name }) {
  const [isOpen, setOpen] = useState(false);
  const path = isOpen ? `${apiPath("studies", name)}/logs` : null;
  const log = useData(path, (event) => event.name === name && event.kind !== "epochs");
  return html`<section><details onToggle=${(event) => setOpen(event.target.open)}>
    <summary>Log</summary>
    ${isOpen && html`<${Waiting} ...${log}>
      ${() => (log.data.text
        ? html`<pre class="log" tabindex="0" role="region" aria-label="Log">${log.data.text}</pre>`
        : html`<p class="quiet">Nothing has been printed yet.</p>`)}
    <//>`}
  </details></section>`;
}
