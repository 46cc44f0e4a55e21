// What the pages cannot do alone: the theme, times in the reader's zone, charts, copying. Everything else is links, forms and live.js.
(() => {
  "use strict";
  const root = document.documentElement, themes = ["auto", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("sluice-theme") || "auto"; } catch { return "auto"; } };
  const paint = () => {
    const t = stored();
    document.dispatchEvent(new Event("sluice:theme"));
    for (const b of document.querySelectorAll("[data-theme-switch]")) b.textContent = b.dataset[t];
    charts(document);
  };

  const times = (within) => {
    const f = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "medium" });
    for (const el of within.querySelectorAll("time[datetime]")) {
      const at = new Date(el.dateTime);
      if (!isNaN(at)) { el.textContent = f.format(at); el.title = el.dateTime; }
    }
  };

  // time left until a moment, as m:ss
  setInterval(() => {
    for (const el of document.querySelectorAll("[data-countdown]")) {
      const left = Math.max(0, Math.round((new Date(el.dataset.countdown) - Date.now()) / 1000));
      if (!isNaN(left)) el.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    }
  }, 1000);

  // without TLS a browser has no clipboard for scripts: what is to be copied is selected then
  const copy = async (el) => {
    try { await navigator.clipboard.writeText(el.value ?? el.textContent); return true; } catch { /* below */ }
    if (el.select) el.select(); else getSelection().selectAllChildren(el);
    return document.execCommand("copy");
  };

  // the reader's time zone: forms bring it along, and the pages that have none know it by a cookie
  const zone = (() => { try { return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC"; } catch { return "UTC"; } })();
  document.cookie = `sluice_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  const zones = (within) => {
    for (const el of within.querySelectorAll("[data-zone]")) el.value = zone;
    for (const el of within.querySelectorAll("[data-zone-name]")) el.textContent = zone;
  };

  const short = new Intl.NumberFormat(root.lang, { notation: "compact", maximumSignificantDigits: 3 });
  // charts by element: a live part leaves them (morphSkipChildren), so that the legend stays under the pointer
  const drawn = new Map(), sizes = new ResizeObserver((es) => { for (const { target: el } of es) if (el.clientWidth) drawn.get(el)?.u.setSize({ width: el.clientWidth, height: 220 }); });
  const charts = (within) => {
    const look = (el) => JSON.stringify([root.dataset.bsTheme, { ...el.dataset, chart: "", mark: "" }]), told = (el) => el.dataset.chart + el.dataset.mark;
    for (const [el, c] of drawn) {
      if (!el.isConnected || c.look !== look(el)) { sizes.unobserve(el); c.u.destroy(); drawn.delete(el); }
      else if (c.told !== told(el)) { c.told = told(el); c.u.setData(c.take()); }
    }
    for (const el of within.querySelectorAll("[data-chart]")) {
      if (!window.uPlot || drawn.has(el)) continue;
      const style = getComputedStyle(root), own = getComputedStyle(el), colors = ["--tblr-primary", "--tblr-danger", "--tblr-success"].map((n) => style.getPropertyValue(n).trim());
      if (el.dataset.colors) colors.splice(0, 3, ...el.dataset.colors.split(" ").map((n) => colors[n]));
      const axis = { stroke: own.color, grid: { stroke: own.borderTopColor } };
      const names = el.dataset.names.split("|"), bars = "bars" in el.dataset;
      let data, half, marked; // half of a bar, which stands around its time; from, to
      const take = () => {
        data = JSON.parse(el.dataset.chart); marked = JSON.parse(el.dataset.mark ?? "[]");
        half = data[0].length > 1 ? (data[0].at(-1) - data[0][0]) / (data[0].length - 1) / 2 : 43200;
        return bars ? [data[0], ...data.slice(1).map((ns) => ns.map((n) => n || null))] : data; // nothing has no bar, not even a flat one
      };
      const paths = (i) => bars ? { fill: colors[i], width: 1, paths: uPlot.paths.bars({ size: [0.8, 60] }), points: { show: false } } : { width: 2, points: { show: true } };
      const tz = el.dataset.tz ?? zone, at = (t) => { try { return uPlot.tzDate(new Date(t * 1000), tz); } catch { return new Date(t * 1000); } };
      const say = (o) => { const f = new Intl.DateTimeFormat(root.lang, o); return (t) => f.format(at(t)); }; // a date that reads as the zone's clock does
      const day = say({ month: "numeric", day: "numeric" }), clock = say({ hour: "2-digit", minute: "2-digit" }), month = say({ year: "numeric", month: "numeric" });
      const per = el.dataset.per, full = say({ dateStyle: "medium", ...(per === "day" || per === "month" ? {} : { timeStyle: per ? "short" : "medium" }) });
      const exact = say({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
      const tick = { day, month }[per] ?? ((t, step) => step < 60 ? exact(t) : at(t).getHours() || at(t).getMinutes() ? clock(t) : day(t));
      const mark = (u) => {
        if (!marked.length) return;
        const [x, end] = marked.map((t) => u.valToPos(t - half, "x", true));
        u.ctx.save(); u.ctx.globalAlpha = 0.18; u.ctx.fillStyle = own.color; u.ctx.fillRect(x, u.bbox.top, end - x, u.bbox.height); u.ctx.restore();
      };
      const u = new uPlot({ width: el.clientWidth, height: 220, tzDate: at, hooks: { drawClear: [mark] },
        axes: [{ ...axis, values: (u, ts, i, space, step) => ts.map((t) => tick(t, step)) }, { ...axis, size: 60, values: (u, ns) => ns.map((n) => short.format(n)) }],
        scales: bars ? { x: { range: (u, lo, hi) => [lo - half, hi + half] }, y: { range: (u, lo, hi) => [0, hi > 0 ? hi * 1.1 : 1] } } : {},
        series: [{ label: el.dataset.time ?? "", value: (u, t) => (t == null ? "–" : full(t)) }, ...names.map((label, i) => ({ label, stroke: colors[i], value: (u, n, s, at) => (data[s][at]?.toLocaleString(root.lang) ?? "–"), ...paths(i) }))] }, take(), el);
      drawn.set(el, { u, take, look: look(el), told: told(el) });
      sizes.observe(el);
    }
  };

  document.addEventListener("submit", (e) => { if (e.submitter?.matches("[data-busy]")) e.submitter.classList.add("btn-loading"); });

  // a form that is under way is not sent a second time. Its buttons are back when the page is shown again, when loading it was
  // stopped, and after a while, as a browser may never say that nothing came
  const underway = new Set();
  const free = () => { for (const f of underway) for (const b of f.elements) if (b.dataset.waits) { b.disabled = false; delete b.dataset.waits; b.classList.remove("btn-loading"); } underway.clear(); };
  document.addEventListener("submit", (e) => {
    const f = e.target;
    if (f.method !== "post" || f.hasAttribute("hx-post") || e.submitter?.hasAttribute("hx-post")) return;
    if (underway.has(f)) { e.preventDefault(); return; }
    setTimeout(() => { // the button's own value is sent, too, and a script may have taken the form
      if (e.defaultPrevented) return;
      underway.add(f);
      for (const b of f.elements) if (b.matches("button:not([type=button])") && !b.disabled) { b.dataset.waits = "1"; b.autocomplete = "off"; b.disabled = true; }
      setTimeout(free, 30000);
    });
  });
  addEventListener("pageshow", free);
  addEventListener("keydown", (e) => { if (e.key === "Escape") free(); });

  // what a button did is said to who does not see it
  const tell = (words) => {
    let el = document.getElementById("said");
    if (!el) { el = Object.assign(document.createElement("div"), { id: "said", className: "visually-hidden" }); el.setAttribute("role", "status"); document.body.append(el); }
    el.textContent = "";
    setTimeout(() => { el.textContent = words; }, 50);
  };
  // after a form that was refused, the reader stands where it says what is wrong
  document.addEventListener("DOMContentLoaded", () => {
    const el = document.querySelector('main [aria-invalid="true"]') ?? document.querySelector("main .alert-danger[role=alert]");
    if (!el) return;
    if (!el.matches("input, select, textarea")) el.tabIndex = -1;
    el.closest("details")?.setAttribute("open", "");
    el.focus({ preventScroll: true });
    el.scrollIntoView({ block: "center" });
  });

  document.addEventListener("click", (e) => {
    const t = e.target.closest("[data-theme-switch]");
    if (t) {
      try { localStorage.setItem("sluice-theme", themes[(themes.indexOf(stored()) + 1) % themes.length]); } catch { /* it lasts for the page */ }
      paint();
    }
    const c = e.target.closest("[data-copy]");
    if (c) copy(document.getElementById(c.dataset.copy)).then((ok) => { if (ok) { c.textContent = c.dataset.copied; tell(c.dataset.copied); } });
    const o = e.target.closest("[data-open]");
    if (o && !(o.href && (e.ctrlKey || e.metaKey || e.shiftKey))) { e.preventDefault(); document.getElementById(o.dataset.open).showModal(); }
    const k = e.target.closest("[data-tick]"); // all boxes of a column, or none if all are ticked
    if (k) {
      const boxes = [...document.querySelectorAll("input[type=checkbox]")].filter((b) => b.value.startsWith(k.dataset.tick + " "));
      const on = !boxes.every((b) => b.checked);
      for (const b of boxes) b.checked = on;
    }
    if (e.target.closest("#bulk > button")) { // Enter in a field of it
      e.preventDefault();
      if (document.activeElement.id === "bulk-confirm") document.querySelector("button[form=bulk][value=delete]").click();
    }
    if (e.target.closest("[data-reload]")) location.reload();
    const x = e.target.closest("[data-close]");
    if (x) x.closest("dialog").close();
  });
  document.addEventListener("change", (e) => {
    if (e.target.matches("[data-submit]") && !stepped) { held = null; e.target.form.requestSubmit(); }
    if (e.target.matches("[data-sets]")) { const [id, value] = e.target.dataset.sets.split("="); document.getElementById(id).value = value; }
    if (e.target.matches("[data-all]")) for (const b of document.querySelectorAll(`input[type=checkbox][form="${e.target.dataset.all}"]`)) b.checked = e.target.checked;
  });
  // a key that steps through a closed list changes it each time: it submits on Enter then, or when it is left
  let held = null, was = "", stepped = false;
  const leave = (el) => { const go = held === el && el.value !== was; held = null; if (go) el.form.requestSubmit(); return go; };
  document.addEventListener("pointerdown", () => { stepped = false; });
  document.addEventListener("focusout", (e) => leave(e.target));
  document.addEventListener("keydown", (e) => {
    const t = e.target;
    if (e.key === "Enter" && t.matches("[name=ids][form=bulk]")) e.preventDefault();
    if (!t.matches("[data-submit]")) return;
    if (e.key === "Enter" && leave(t)) { e.preventDefault(); return; }
    if (held !== t) [held, was] = [t, t.value];
    stepped = !e.altKey && !["Enter", " ", "F4"].includes(e.key); // which open the list
  });
  // what scrolls sideways can be scrolled by keyboard, too
  const scrollers = () => { for (const el of document.querySelectorAll(".table-responsive")) { if (el.scrollWidth > el.clientWidth) el.tabIndex = 0; else el.removeAttribute("tabindex"); } };
  addEventListener("resize", scrollers);
  const enliven = (el) => { times(el); zones(el); charts(el); scrollers(); };
  document.addEventListener("DOMContentLoaded", () => { if (window.htmx) htmx.config.morphSkipChildren = "[data-chart]"; paint(); enliven(document); });
  document.addEventListener("htmx:after:swap", () => enliven(document));
  // the answer of a form is a page of its own; reloading it must not send the form again
  const here = new URL(location.href);
  if (here.searchParams.has("do") && !document.querySelector("[data-reload]")) { // which sends it again on purpose
    here.searchParams.delete("do");
    history.replaceState(null, "", here);
  }
  document.addEventListener("ended", () => location.reload()); // of a stream whose session is over: the server says where to
  // on a narrow screen the menu is closed at first
  const wide = matchMedia("(min-width: 992px)"), menu = () => { for (const m of document.querySelectorAll("details.menu")) m.open = wide.matches; };
  wide.addEventListener("change", menu);
  document.addEventListener("DOMContentLoaded", menu);
})();
