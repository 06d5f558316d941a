"use strict";
// The continuations, of which only the rows asked for are ever built; then the figures, one after another.
// Text from the model reaches the page through textContent alone.
(function () {
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const minus = (value) => String(value).replace("-", "\u2212");
  const signed = (value) => (value > 0 ? "+" : "") + minus(value);

  // ---- figures
  function drawFigures(browser) {
    const config = { displaylogo: false, displayModeBar: window.innerWidth > 640 ? "hover" : false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], toImageButtonOptions: { format: "svg" } };
    const figures = [...document.querySelectorAll("figure")], fits = [];
    // As wide as the page. Narrower than its least width, three quarters of its own if it names none, a figure would
    // lose its labels: it is scaled.
    const fit = (plot, own, height, least) => {
      const room = plot.parentElement.clientWidth, width = Math.max(room, Math.round(least * own));
      const scale = Math.min(1, room / width);
      plot.style.width = width + "px";
      plot.style.transform = scale < 1 ? `scale(${scale})` : "";
      plot.parentElement.style.height = Math.ceil(height * scale) + "px";
      return width;
    };
    let waiting;
    window.addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => fits.forEach(([plot, ...size]) => Plotly.relayout(plot, { width: fit(plot, ...size) })), 150);
    });
    const next = () => {
      const figure = figures.shift();
      if (!figure) { document.documentElement.dataset.drawn = Math.round(performance.now()); return; }
      const { data, layout } = JSON.parse(figure.querySelector(".figure-data").textContent);
      const plot = figure.querySelector(".plot");
      const own = layout.width || 760, height = layout.height || 460;
      const meta = layout.meta, least = meta && meta.least ? meta.least : 0.75;
      fits.push([plot, own, height, least]);
      Plotly.newPlot(plot, data, { ...layout, width: fit(plot, own, height, least) }, config).then(() => {
        if (browser && meta && meta.browse) plot.on("plotly_click", (event) => {
          const cell = event.points[0].customdata;
          if (!cell) return;
          const choice = Object.fromEntries(meta.browse.map((name, i) => [name, String(cell[i])]));
          browser.choose(Number(choice.coeff) === 0 ? { method: "unsteered" } : { method: meta.method, place: meta.place, ...choice });
          document.getElementById("generations").scrollIntoView({ behavior: "smooth" });
        });
        setTimeout(next, 0);
      });
    };
    next();
  }

  // ---- the table of conditions: a click on a column's name sorts by it, largest first, then the other way
  function sortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const number = (text) => parseFloat(text.replaceAll("\u2212", "-").replace(/^[[<] ?/, ""));
    heads.forEach((head, k) => {
      const button = make("button", "", head.textContent);
      button.type = "button"; head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") === "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const text = (row) => row.cells[k].textContent, numeric = head.className === "number";
        const before = (a, b) => {
          if (!numeric) return text(a).localeCompare(text(b));
          const [x, y] = [number(text(a)), number(text(b))];
          return isNaN(x) || isNaN(y) ? (isNaN(x) - isNaN(y)) * (up ? 1 : -1) : x - y; // what has no number stays last
        };
        body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * before(a, b)));
      });
    });
  }

  // ---- continuations
  function startBrowser() {
    const source = document.getElementById("generations-data");
    if (!source) return null;
    const { columns, text, filters, start } = JSON.parse(source.textContent);
    const at = (name, i) => { const c = columns[name]; return c === undefined ? null : c.codes ? (c.codes[i] < 0 ? null : c.values[c.codes[i]]) : c[i]; };
    const total = text.length, page = 20;
    const form = document.querySelector(".filters"), rows = document.querySelector(".rows");
    const count = document.querySelector(".count"), more = document.querySelector(".more");

    const baseline = new Map(); // prompt and sample -> the unsteered row
    const twin = (i) => JSON.stringify([at("prompt", i), at("sample", i)]);
    for (let i = 0; i < total; i++) if (at("role", i) === "unsteered" && !baseline.has(twin(i))) baseline.set(twin(i), i);

    const controls = {};
    for (const name of filters) {
      const select = make("select");
      select.name = name;
      select.append(new Option("all", ""));
      columns[name].values.forEach((value) => {
        const label = typeof value === "number" ? (name === "coeff" ? signed(value) : minus(value)) : String(value).replaceAll("_", name === "method" || name === "place" ? " " : "_");
        select.append(new Option(label.length > 60 ? label.slice(0, 58) + " \u2026" : label, String(value)));
      });
      const label = make("label", "", name === "coeff" ? "coefficient" : name);
      label.append(select); form.append(label); controls[name] = select;
    }
    const search = make("input"); search.type = "search"; search.name = "contains"; search.placeholder = "a word or phrase";
    const searchLabel = make("label", "", "text contains"); searchLabel.append(search); form.append(searchLabel); controls.contains = search;

    let found = [], shown = 0;
    function filter() {
      const wanted = filters.filter((name) => controls[name].value !== "")
        .map((name) => [columns[name].codes, columns[name].values.findIndex((v) => String(v) === controls[name].value)]);
      const words = search.value.toLowerCase();
      found = [];
      for (let i = 0; i < total; i++) {
        if (wanted.every(([codes, code]) => codes[i] === code) && (!words || text[i].toLowerCase().includes(words))) found.push(i);
      }
      rows.replaceChildren(); shown = 0; show();
      count.textContent = found.length.toLocaleString("en") + " of " + total.toLocaleString("en") + " continuations";
      const state = new URLSearchParams();
      for (const [name, control] of Object.entries(controls)) if (control.value) state.set(name, control.value);
      try { history.replaceState(null, "", "#" + state); } catch (error) { /* a page inside a notebook has no address */ }
    }
    function show() {
      const end = Math.min(shown + page, found.length);
      for (; shown < end; shown++) rows.append(row(found[shown]));
      more.hidden = shown >= found.length;
    }
    function highlighted(words, value) {
      const node = make("div"); node.dir = "auto";
      const from = words ? value.toLowerCase().indexOf(words.toLowerCase()) : -1;
      if (from < 0) node.append(value || "(empty)");
      else node.append(value.slice(0, from), make("mark", "", value.slice(from, from + words.length)), value.slice(from + words.length));
      return node;
    }
    function row(i) {
      const node = make("article"), what = make("div", "what");
      const plain = at("role", i) === "unsteered", layer = at("layer", i), coeff = at("coeff", i);
      const named = ["method", "place"].map((name) => at(name, i) && String(at(name, i)).replaceAll("_", " "));
      const head = [...named, layer !== null && "layer " + layer, layer !== null && coeff !== null && "coefficient " + signed(coeff)];
      what.append(make("b", "", head.filter(Boolean).join(", ")));
      const rest = Object.keys(columns).filter((name) => !["method", "place", "role", "layer", "coeff", "prompt", "condition"].includes(name) && at(name, i) !== null);
      what.append(rest.map((name) => " \u00b7 " + name.replaceAll("_", " ") + " " + minus(at(name, i))).join(""));
      const prompt = make("p", "prompt", String(at("prompt", i) ?? "")); prompt.dir = "auto";
      node.append(what, prompt);
      const before = baseline.get(twin(i)), pair = make("div", "pair");
      const add = (name, className, value, words) => {
        const cell = make("div", className);
        cell.append(make("small", "", name), highlighted(words, value));
        pair.append(cell);
      };
      if (!plain && before !== undefined) add("unsteered", "before", text[before], "");
      add(plain ? "unsteered" : "steered", "after", text[i], search.value);
      node.append(pair);
      return node;
    }
    function choose(values) {
      for (const [name, control] of Object.entries(controls)) {
        const value = String(values[name] ?? "");
        control.value = value;
        if (control.value !== value) control.value = "";
      }
      filter();
    }
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", show);
    const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const known = Object.keys(asked).some((name) => name in controls);
    choose(known ? asked : start);
    window.addEventListener("hashchange", () => choose(Object.fromEntries(new URLSearchParams(location.hash.slice(1)))));
    return { choose };
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  const browser = startBrowser();
  document.documentElement.dataset.ready = Math.round(performance.now()); // milliseconds since the page was opened
  document.addEventListener("DOMContentLoaded", () => drawFigures(browser)); // plotly's five megabytes come after this script
})();
