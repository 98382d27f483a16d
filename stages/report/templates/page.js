"use strict";
{
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Photos that stand in the page already.
  for (const image of all("img[data-same]")) image.src = byId(image.dataset.same).src;

  const choice = byId("theme");

  // Charts, in the colours of the page.
  const specs = JSON.parse(byId("charts").textContent);
  const views = new Map();

  function colour(name) {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(--${name})`;
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  function theme() {
    const [paper, ink, pale, line, muted, accent, second, third, fourth] = [
      "paper", "ink", "pale", "line", "muted", "accent", "second", "third", "fourth",
    ].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      view: { stroke: null },
      axis: {
        domainColor: line, gridColor: line, tickColor: line, labelColor: pale, titleColor: pale,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelLimit: 190, titlePadding: 8,
      },
      legend: { orient: "top", labelColor: ink, titleColor: pale, labelFontSize: 12, symbolStrokeWidth: 2 },
      range: {
        category: [accent, second, third, fourth],
        heatmap: [paper, accent],
        ramp: [paper, accent],
      },
      style: {
        muted: { color: muted, strokeWidth: 1.2 },
        accent: { color: accent, strokeWidth: 3 },
        series: { strokeWidth: 2.2 },
        interval: { strokeWidth: 4, opacity: 0.45 },
        filled: { filled: true, size: 70, opacity: 1 },
        spot: { filled: true, color: accent, stroke: paper, strokeWidth: 2, size: 140, opacity: 1 },
        mark: { color: pale, strokeDash: [3, 3], strokeWidth: 1.5 },
      },
    };
  }

  const isDark = () => choice.value === "dark" ||
    (choice.value !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

  async function draw() {
    const options = { config: theme(), renderer: "svg", actions: false, tooltip: { theme: isDark() ? "dark" : "light" } };
    for (const place of all("[data-chart]")) {
      views.get(place)?.finalize();
      views.set(place, await vegaEmbed(place, specs[place.dataset.chart], options));
    }
    all("select[data-signal]").forEach(choose);
    document.documentElement.dataset.drawn = "";
  }

  function choose(select) {
    for (const [place, { view }] of views)
      if (specs[place.dataset.chart].params?.some(({ name }) => name === select.dataset.signal))
        view.signal(select.dataset.signal, select.value).runAsync();
  }

  for (const select of all("select[data-signal]"))
    select.addEventListener("change", () => choose(select));

  // Light or dark, as the system has it or as was chosen.
  const kept = (value) => {
    try { // a page from a file may have no storage
      return value ? localStorage.setItem("tagloom-theme", value) : localStorage.getItem("tagloom-theme");
    } catch { return null; }
  };
  function show(scheme) {
    document.documentElement.style.colorScheme = scheme;
    choice.value = scheme;
    return draw();
  }
  choice.addEventListener("change", () => { kept(choice.value); show(choice.value); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  show(all("option", choice).some((option) => option.value === kept()) ? kept() : "light dark");

  // Tables that are sorted by a click on a heading; a second one turns them round.
  for (const heading of all("table.sorted th:has(.sort)"))
    heading.querySelector(".sort").addEventListener("click", () => {
      const rows = heading.closest("table").tBodies[0];
      const isText = heading.classList.contains("text");
      const first = isText ? "ascending" : "descending";
      const other = isText ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      all("[aria-sort]", heading.parentNode).forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const value = (row) => {
        const cell = row.cells[heading.cellIndex];
        return isText ? cell.textContent : parseFloat(cell.dataset.value ?? cell.textContent);
      };
      const compare = isText
        ? (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true })
        : (a, b) => value(a) - value(b);
      const sign = order === "ascending" ? 1 : -1;
      rows.append(...[...rows.rows].sort((a, b) => sign * compare(a, b)));
    });

  // Heat maps over photos.
  function warm(button, on) {
    const frame = button.closest("figure").querySelector(".frame");
    button.setAttribute("aria-pressed", on);
    frame.classList.toggle("warm", on);
    frame.querySelector(".heat").hidden = !on;
  }
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  for (const button of all(".heat-switch"))
    button.addEventListener("click", () => warm(button, !pressed(button)));
  const everywhere = byId("all-heat");
  everywhere?.addEventListener("click", () => {
    const on = !pressed(everywhere);
    everywhere.setAttribute("aria-pressed", on);
    all(".heat-switch").forEach((button) => warm(button, on));
  });

  // What is right of the photos that were looked at, as a file for ingest.corrections.
  const corrections = byId("corrections");
  const names = new Set(all("#label-names option").map((option) => option.value));
  const tickOf = (figure) => figure.querySelector("[name=id]");
  const labelsOf = (figure) => all(".chip[aria-pressed=true]", figure).map((chip) => chip.dataset.label);
  const ticked = () => all("[name=id]:checked", corrections);
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

  function tell(figure) {
    const labels = labelsOf(figure).map((label) => {
      const isolated = document.createElement("bdi");
      isolated.textContent = label;
      return [isolated, ", "];
    });
    const words = labels.length ? labels.flat().slice(0, -1) : ["no label"];
    const state = figure.querySelector(".state");
    if (tickOf(figure).checked) state.replaceChildren("will be: ", ...words);
    else state.replaceChildren("not looked at");
    const count = ticked().length;
    corrections.querySelector("[type=submit]").disabled = count === 0;
    byId("ticked").value = count === 0 ? "no photo ticked" : count === 1 ? "1 photo" : `${count} photos`;
  }

  function press(chip, on) {
    const figure = chip.closest("figure");
    chip.setAttribute("aria-pressed", on);
    tickOf(figure).checked = true;
    tell(figure);
  }

  function add(figure) {
    const input = figure.querySelector(".another");
    const name = input.value.normalize("NFC").trim();
    const refused = figure.querySelector(".refused");
    const isRefused = name !== "" && !names.has(name);
    refused.textContent = isRefused ? `There is no label “${name}”.` : "";
    input.setAttribute("aria-invalid", isRefused);
    if (isRefused || name === "") return input.focus();
    let chip = all(".chip", figure).find((each) => each.dataset.label === name);
    if (!chip) {
      chip = document.createElement("button");
      Object.assign(chip, { type: "button", className: "chip suggested" });
      chip.dataset.label = name;
      const [isolated, unseen] = ["bdi", "span"].map((tag) => document.createElement(tag));
      isolated.textContent = name;
      Object.assign(unseen, { className: "unseen", textContent: ", added" });
      chip.append(isolated, unseen);
      figure.querySelector(".chips").append(chip);
    }
    input.value = "";
    press(chip, true);
  }

  corrections?.addEventListener("change", ({ target }) => {
    if (target.name === "id") tell(target.closest("figure"));
  });
  corrections?.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button?.matches(".chip")) press(button, !pressed(button));
    if (button?.matches(".add")) add(button.closest("figure"));
  });
  corrections?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("input")) return;
    event.preventDefault(); // nothing is downloaded by it
    if (event.target.matches(".another")) add(event.target.closest("figure"));
  });
  corrections?.addEventListener("submit", (event) => {
    event.preventDefault();
    const cells = (tick) => [tick.value, labelsOf(tick.closest("figure")).join(corrections.dataset.separator), tick.dataset.unknown];
    const rows = ticked().map((tick) => cells(tick).map(quoted).join(","));
    const link = document.createElement("a");
    // A name of its own, so that no earlier file is replaced.
    link.download = `corrections-${new Date().toISOString().replace(/\D/g, "").slice(0, 14)}.csv`;
    link.href = URL.createObjectURL(new Blob([["id,labels,unknown", ...rows, ""].join("\n")], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  });
}
