// The colours of the page, light or dark: runs before anything is drawn, so that nothing flashes.
"use strict";
(() => {
  try {
    const wanted = localStorage.getItem("kd_sweep theme");
    if (wanted === "light" || wanted === "dark") document.documentElement.dataset.theme = wanted;
  } catch { /* storage is switched off: the system's colours */ }
})();
