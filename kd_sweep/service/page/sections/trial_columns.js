// The columns of the table of trials: settings, outcomes and how a trial ran; and what chooses among them.
import { html, useState } from "../vendor/preact-htm.js";
import { setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiPath } from "../app/requests.js";
import { words } from "../app/wording.js";

const MAIN_SETTINGS = ["augmentation_strength", "ensemble_size", "seed"];
const OF_A_FIELD = /^(data|augmentation|teacher|student|distillation|metrics)_/;
const NO_FIELDS = new Set(["augmentation_strength", "teacher_accuracy", "metrics_version"]);
const OF_A_RUN = ["status", "last_epoch", "num_epochs", "best_epoch", "attempts", "train_s", "started_at", "finished_at", "host",
  "error", "student", "teacher", "metrics_version", "rung", "suggestion", "generation"];
const NOT_OFFERED = new Set(["study", "trial_id", "config", "traceback", ...MAIN_SETTINGS, ...OF_A_RUN]);
export const LIST_BETWEEN = ",";

// Returns whether a column is that of a searched field, beside strength, size and seed.
export function isField(name) {
  return OF_A_FIELD.test(name) && !NO_FIELDS.has(name) && !name.endsWith("_source");
}

// Returns the names of columns by group, from all names.
export function groupsOf(names) {
  return {
    Settings: [...MAIN_SETTINGS, ...names.filter(isField)].filter((name) => names.includes(name)),
    Outcomes: names.filter((name) => !isField(name) && !NOT_OFFERED.has(name)),
    Run: OF_A_RUN.filter((name) => names.includes(name)),
  };
}

export function listIn(params, name) {
  const text = params.get(name);
  return text === null ? null : text.split(LIST_BETWEEN).filter(Boolean);
}

// Checkboxes for columns of some groups, read once they are asked for; what is chosen is a list in the address.
export function ColumnChoice({ study, label, groups, param, chosen, most = Infinity }) {
  const [isOpen, setOpen] = useState(false);
  const all = useData(isOpen ? `${apiPath("studies", study)}/trials?limit=1&format=columns` : null);
  const put = (names) => setParams({ [param]: names === null ? null : names.join(LIST_BETWEEN) });
  const toggle = (name) => put(chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name]);
  return html`<details class="choice" onToggle=${(event) => setOpen(event.target.open)}><summary>${label}</summary>
    ${isOpen && html`<${Waiting} ...${all}>${() => html`
      ${groups.map((group) => html`<fieldset key=${group} class="columns"><legend>${group}</legend>
        ${groupsOf(Object.keys(all.data.columns))[group].map((name) => html`<label key=${name}><input type="checkbox"
          checked=${chosen.includes(name)} disabled=${!chosen.includes(name) && chosen.length >= most} onChange=${() => toggle(name)} />
          ${words(name)}</label>`)}</fieldset>`)}
      <button type="button" onClick=${() => put(null)}>The usual ones</button>`}<//>`}
  </details>`;
}
