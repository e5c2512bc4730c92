// The choice between light and dark colours, or those of the system; remembered in this browser.
import { html, useState } from "../vendor/preact-htm.js";

const KEY = "kd_sweep theme";
export const THEME_CHANGED = "kd_sweep theme";
const NEXT = { "": "light", light: "dark", dark: "" };
const NAMES = { "": "Auto", light: "Light", dark: "Dark" };

export function ThemeChoice() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "");
  function choose() {
    const next = NEXT[theme];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    try {
      localStorage.setItem(KEY, next);
    } catch { /* it lasts as long as the page */ }
    setTheme(next);
    dispatchEvent(new Event(THEME_CHANGED));
  }
  return html`<button type="button" class="plain" onClick=${choose}>
    <span aria-hidden="true">◐</span> <span class="hidden">Colours: </span>${NAMES[theme]}
  </button>`;
}
