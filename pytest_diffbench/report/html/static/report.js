"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  const list = $("list");
  const rows = all("li", list);
  const rowOf = new Map(rows.map((row) => [row.dataset.slug, row]));
  const modes = ["side", "swipe", "onion", "blink", "difference", "heat", "tile", "all"];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const texts = new Map();
  const chips = all(".chip");
  const selects = ["gate", "model", "stage", "session", "sort"].map($).filter(Boolean);

  // What the address says after its hash is all that the page remembers: filters, case and view.
  let state = {};
  const read = () => {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return hash === "overview" ? {} : { case: hash };
    return Object.fromEntries(new URLSearchParams(hash));
  };
  const written = () => {
    const kept = new URLSearchParams();
    for (const [key, value] of Object.entries(state)) if (value) kept.set(key, value);
    return `#${kept.toString() || "overview"}`;
  };
  const go = (change, { push = false } = {}) => {
    state = { ...state, ...change };
    history[push ? "pushState" : "replaceState"](null, "", written());
    show();
  };

  const textOf = (row) => {
    // A case is found by its whole id and its model, too.
    if (!texts.has(row)) {
      const name = row.querySelector(".name");
      texts.set(row, `${name.title} ${row.dataset.model} ${row.dataset.status}`.toLowerCase());
    }
    return texts.get(row);
  };

  const passes = (row, words, statuses) => {
    const data = row.dataset;
    if (state.gate) {
      const found = data.gates.split(" ").find((entry) => entry.startsWith(`${state.gate}:`)) ?? "";
      const decision = found.slice(state.gate.length + 1);
      if (statuses.length ? !statuses.includes(decision) : ["", "none", "same"].includes(decision)) return false;
    } else if (statuses.length && !statuses.includes(data.status)) return false;
    if (state.model && data.model !== state.model) return false;
    if (state.stage && !data.stages.split(" ").includes(state.stage)) return false;
    if (state.session && data.session !== state.session) return false;
    const text = textOf(row);
    return words.every((word) => text.includes(word));
  };

  const orders = {
    name: (a, b) => textOf(a).localeCompare(textOf(b)),
    slower: (a, b) => b.dataset.ratio - a.dataset.ratio,
    total: (a, b) => b.dataset.total - a.dataset.total,
    psnr: (a, b) => a.dataset.psnr - b.dataset.psnr,
  };
  let sorted = "";
  const sort = () => {
    const order = state.sort ?? "";
    if (order === sorted) return;
    sorted = order;
    const places = [...rows];
    if (orders[order]) places.sort(orders[order]);
    list.append(...places);
  };

  let filtered = "";
  const filter = () => {
    const { case: _case, view: _view, ...rest } = state;
    const key = JSON.stringify(rest);
    if (key === filtered) return;
    filtered = key;
    const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = (state.status ?? "").split(",").filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = passes(row, words, statuses);
      row.hidden = !fits;
      count += fits;
    }
    sort();
    $("shown").textContent = count === rows.length ? `${count} cases` : `${count} of ${rows.length} cases`;
    $("clear").hidden = !(state.q || state.status || selects.some((select) => state[select.id]));
    for (const chip of chips) chip.setAttribute("aria-pressed", statuses.includes(chip.dataset.status));
    for (const select of selects) select.value = state[select.id] ?? "";
    if ($("q").value !== (state.q ?? "")) $("q").value = state.q ?? "";
  };

  // What a case holds is text until it is opened. It was escaped when the page was made, and its scripts, if it had
  // any, would not run.
  const fill = (article) => {
    const text = article.querySelector("noscript");
    if (!text) return;
    const made = new DOMParser().parseFromString(text.textContent, "text/html");
    text.replaceWith(...made.body.childNodes);
    article.setAttribute("aria-label", article.querySelector("h2 .name").textContent);
  };
  addEventListener("beforeprint", () => all(".case:is(.is-worse, .is-error, .is-refused)").forEach(fill));

  let current = null;
  const show = () => {
    filter();
    const article = state.case ? $(state.case) : null;
    const chosen = article?.matches("[data-case]") ? article : null;
    if (chosen !== current) {
      for (const node of [current, rowOf.get(current?.id)]) node?.classList.remove("current");
      for (const link of all("[aria-current]", list)) link.removeAttribute("aria-current");
      current = chosen;
      document.body.dataset.open = chosen ? "case" : "overview";
      if (chosen) {
        fill(chosen);
        chosen.classList.add("current");
        chosen.querySelector("details").open = true;
        const row = rowOf.get(chosen.id);
        row?.classList.add("current");
        row?.firstElementChild.setAttribute("aria-current", "true");
        row?.scrollIntoView({ block: "nearest" });
      }
      scrollTo(0, 0);
    }
    setMode(modes.includes(state.view) ? state.view : "side");
    const visible = rows.filter((row) => !row.hidden);
    $("previous").disabled = $("next").disabled = !visible.length;
  };

  const step = (by) => {
    const visible = all("li:not([hidden])", list);
    if (!visible.length) return;
    const at = visible.findIndex((row) => row.dataset.slug === current?.id);
    const next = at < 0 ? (by > 0 ? 0 : visible.length - 1) : at + by;
    if (next >= 0 && next < visible.length) go({ case: visible[next].dataset.slug }, { push: true });
  };

  // -- views of pictures

  let blinking = 0;
  const setMode = (mode) => {
    clearInterval(blinking);
    if (!current) return;
    for (const viewer of all(".comparing", current)) {
      viewer.dataset.mode = mode;
      for (const button of all(".modes button", viewer)) {
        button.setAttribute("aria-pressed", button.dataset.mode === mode);
      }
    }
    if (mode === "blink") pause(still.matches);
  };
  const pause = (paused) => {
    clearInterval(blinking);
    for (const button of all(".pause", current)) {
      button.setAttribute("aria-pressed", paused);
      button.textContent = paused ? "Go on" : "Pause";
    }
    const turn = () => { for (const viewer of all(".comparing", current)) viewer.classList.toggle("blinked"); };
    if (!paused) blinking = setInterval(turn, 650);
  };

  const zooms = new WeakMap();
  const zoomOf = (viewer) => zooms.get(viewer) ?? { z: 1, x: 0, y: 0 };
  const frameIn = (viewer) => all(".frame", viewer).find((frame) => frame.offsetWidth) ?? viewer;
  const zoom = (viewer, to, at) => {
    const box = frameIn(viewer);
    const [width, height] = [box.offsetWidth, box.offsetHeight];
    const old = zoomOf(viewer);
    const z = Math.min(32, Math.max(1, to.z));
    let { x = old.x, y = old.y } = to;
    if (at) [x, y] = [at.x - ((at.x - old.x) * z) / old.z, at.y - ((at.y - old.y) * z) / old.z];
    x = Math.min(0, Math.max(width - width * z, x));
    y = Math.min(0, Math.max(height - height * z, y));
    zooms.set(viewer, { z, x, y });
    for (const [key, value] of [["--z", z], ["--x", x], ["--y", y]]) viewer.style.setProperty(key, value);
    viewer.classList.toggle("zoomed", z > 1);
  };
  const middle = (viewer) => {
    const box = frameIn(viewer);
    return { x: box.offsetWidth / 2, y: box.offsetHeight / 2 };
  };
  const act = (viewer, what) => {
    const { z } = zoomOf(viewer);
    if (what === "fit") zoom(viewer, { z: 1, x: 0, y: 0 });
    else if (what === "real") {
      const picture = all(".picture", viewer).find((each) => each.offsetWidth) ?? viewer;
      zoom(viewer, { z: Number(picture.dataset.width) / frameIn(viewer).offsetWidth / devicePixelRatio }, middle(viewer));
    } else zoom(viewer, { z: what === "in" ? z * 1.5 : z / 1.5 }, middle(viewer));
  };
  const share = (viewer, percent) => {
    const at = Math.min(100, Math.max(0, percent));
    viewer.style.setProperty("--at", at);
    for (const input of all(".mix", viewer)) input.value = at;
  };
  const pick = (viewer, index) => {
    const pictures = all(".picture", viewer);
    pictures.forEach((picture, number) => picture.classList.toggle("first", number === index));
    for (const button of all(".picker", viewer)) button.setAttribute("aria-pressed", Number(button.dataset.index) === index);
    for (const output of all(".pick output", viewer)) output.textContent = pictures[index].dataset.label;
    for (const input of all(".frame-slider", viewer)) input.setAttribute("aria-valuetext", pictures[index].dataset.label);
  };

  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest?.(".comparing .frame");
    if (!frame || event.button) return;
    const viewer = frame.closest(".viewer");
    drag = { viewer, frame, x: event.clientX, y: event.clientY, from: zoomOf(viewer), swipes: viewer.dataset.mode === "swipe" };
    if (drag.swipes) slide(event);
  });
  const slide = (event) => {
    const box = drag.frame.getBoundingClientRect();
    share(drag.viewer, (100 * (event.clientX - box.left)) / box.width);
  };
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (drag.swipes) slide(event);
    else if (drag.from.z > 1) {
      zoom(drag.viewer, { z: drag.from.z, x: drag.from.x + event.clientX - drag.x, y: drag.from.y + event.clientY - drag.y });
    }
  });
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { drag = null; });
  const inFrame = (event) => {
    const frame = event.target.closest?.(".comparing .frame");
    if (!frame) return null;
    const box = frame.getBoundingClientRect();
    return { viewer: frame.closest(".viewer"), at: { x: event.clientX - box.left, y: event.clientY - box.top } };
  };
  document.addEventListener("dblclick", (event) => {
    const found = inFrame(event);
    if (!found || found.viewer.dataset.mode === "swipe") return;
    const { z } = zoomOf(found.viewer);
    if (z > 1) act(found.viewer, "fit"); else zoom(found.viewer, { z: 4 }, found.at);
  });
  document.addEventListener("wheel", (event) => {
    const found = event.ctrlKey || event.metaKey ? inFrame(event) : null;
    if (!found) return;
    event.preventDefault();
    zoom(found.viewer, { z: zoomOf(found.viewer).z * Math.exp(-event.deltaY / 240) }, found.at);
  }, { passive: false });

  document.addEventListener("input", (event) => {
    const viewer = event.target.closest(".viewer");
    if (event.target.matches(".mix")) share(viewer, Number(event.target.value));
    else if (event.target.matches(".gain")) {
      const gain = 2 ** Number(event.target.value);
      viewer.style.setProperty("--gain", gain);
      viewer.querySelector(".gain-text").textContent = `×${gain}`;
    } else if (event.target.matches(".frame-slider")) pick(viewer, Number(event.target.value));
    else if (event.target === $("q")) go({ q: event.target.value.trim() });
    else if (selects.includes(event.target)) go({ [event.target.id]: event.target.value });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const link = event.target.closest("a[href^='#']");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      const slug = link.hash.slice(1);
      if (slug === "main") return;
      event.preventDefault();
      go({ case: slug === "overview" ? "" : slug }, { push: true });
      if (slug !== "overview" && !list.contains(link)) $("main").focus({ preventScroll: true });
      return;
    }
    if (event.target.closest(".case > details > summary")) event.preventDefault();
    if (!button) return;
    const viewer = button.closest(".viewer");
    if (button.dataset.mode) go({ view: button.dataset.mode });
    else if (button.dataset.zoom) act(viewer, button.dataset.zoom);
    else if (button.matches(".picker")) pick(viewer, Number(button.dataset.index));
    else if (button.matches(".pause")) pause(button.getAttribute("aria-pressed") !== "true");
    else if (button.matches(".copy")) copy(button);
    else if (button.matches(".chip")) toggle(button.dataset.status);
    else if (button.id === "clear") go({ q: "", status: "", gate: "", model: "", stage: "", session: "" });
    else if (button.id === "previous") step(-1);
    else if (button.id === "next") step(1);
    else if (button.id === "back") go({ case: "" }, { push: true });
    else if (button.id === "help-button") $("help").showModal();
    else if (button.id === "theme") theme();
  });
  const toggle = (status) => {
    const statuses = (state.status ?? "").split(",").filter(Boolean);
    const kept = statuses.includes(status) ? statuses.filter((each) => each !== status) : [...statuses, status];
    go({ status: kept.join(",") });
  };
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.parentElement.querySelector("code"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  const themes = ["", "light", "dark"];
  const named = () => {
    const chosen = root.dataset.theme ?? "";
    $("theme-name").textContent = chosen ? chosen[0].toUpperCase() + chosen.slice(1) : "Auto";
  };
  const theme = () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "") + 1) % themes.length];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { localStorage.setItem("diffbench-theme", next); } catch { /* not kept for files */ }
    named();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.target.matches("input[type='search']")) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter") { event.preventDefault(); step(1); event.target.blur(); }
      return;
    }
    if (event.target.matches("input, select, audio, textarea")) return;
    const viewers = current ? all(".comparing", current) : [];
    const keys = {
      "/": () => { $("q").focus(); $("q").select(); },
      "?": () => $("help").showModal(),
      ArrowRight: () => step(1), j: () => step(1),
      ArrowLeft: () => step(-1), k: () => step(-1),
      o: () => go({ case: "" }, { push: true }),
      Escape: () => go({ case: "" }, { push: true }),
      "+": () => viewers.forEach((viewer) => act(viewer, "in")),
      "-": () => viewers.forEach((viewer) => act(viewer, "out")),
      0: () => viewers.forEach((viewer) => act(viewer, "fit")),
    };
    const pane = event.target.matches("pre, .scroll, .strip") && event.key.startsWith("Arrow");
    if (event.key === " " && state.view === "blink" && !event.target.matches("button, summary")) {
      event.preventDefault();
      pause(all(".pause", current)[0]?.getAttribute("aria-pressed") !== "true");
    } else if (/^[1-8]$/.test(event.key) && current) go({ view: modes[event.key - 1] });
    else if (keys[event.key] && !pane) { event.preventDefault(); keys[event.key](); }
  });

  $("filters").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("popstate", () => { state = read(); show(); });
  addEventListener("hashchange", () => { state = read(); show(); });
  state = read();
  named();
  show();
})();
