// The curves of a study by setting: from the rows of the view `bands` to curves with a band each.
import { shown, within } from "../app/wording.js";

const OF_VIEW = new Set(["study", "epoch", "num_trials"]);
const LOW = "q0_1";
const MIDDLE = "q0_5";
const HIGH = "q0_9";

// Returns the columns of an answer that make a setting.
export function settingColumns(columns) {
  return Object.keys(columns).filter((name) => !OF_VIEW.has(name) && !/^q\d/.test(name));
}

// Returns `{ epochs, settings }`; a setting is `{ key, name, index, numTrials, values, low, high }`, null where an epoch
// has no value.
export function settingsOf(columns, numRows) {
  const names = settingColumns(columns);
  const varying = names.filter((name) => new Set(columns[name]).size > 1);
  const epochs = [...new Set(columns.epoch)].sort((first, second) => first - second);
  const at = new Map(epochs.map((epoch, index) => [epoch, index]));
  const settings = new Map();
  for (let row = 0; row < numRows; row += 1) {
    const key = names.map((name) => shown(columns[name][row])).join("/") || "all";
    if (!settings.has(key)) {
      const empty = () => new Array(epochs.length).fill(null);
      const name = varying.map((one) => `${within(one)} ${shown(columns[one][row])}`).join(", ");
      settings.set(key, {
        key, name: name || "all trials", index: settings.size, numTrials: 0, values: empty(), low: empty(), high: empty(),
      });
    }
    const setting = settings.get(key);
    const column = at.get(columns.epoch[row]);
    setting.numTrials = Math.max(setting.numTrials, columns.num_trials[row]);
    setting.values[column] = columns[MIDDLE][row];
    setting.low[column] = columns[LOW][row];
    setting.high[column] = columns[HIGH][row];
  }
  return { epochs, settings: [...settings.values()] };
}
