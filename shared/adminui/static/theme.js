// The theme, before anything is painted: the reader's choice, else the system's. app.js changes it.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("sluice-theme") || "auto"; } catch { return "auto"; } };
  const paint = () => { const t = stored(); document.documentElement.dataset.bsTheme = t === "dark" || (t === "auto" && dark.matches) ? "dark" : "light"; };
  dark.addEventListener("change", paint);
  document.addEventListener("sluice:theme", paint);
  paint();
})();
