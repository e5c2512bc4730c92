// The log of a study: the end of what its drivers have printed, read once it is asked for.
import { html } from "../vendor/preact-htm.js";
import { useData } from "../app/live.js";
import { Folded, Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";

export function StudyLog({ name, params }) {
  const path = params.has("log") ? `${apiPath("studies", name)}/logs` : null;
  const log = useData(path, (event) => event.name === name && event.kind !== "epochs");
  return html`<${Folded} title="Log" param="log" params=${params}>${() => html`
    <${Waiting} ...${log}>${() => (log.data.text
      ? html`<pre class="log" tabindex="0" role="region" aria-label="Log">${log.data.text}</pre>`
      : html`<p class="quiet">Nothing has been printed yet.</p>`)}<//>`}<//>`;
}
