// The page of the service: photos go to POST /predict, one a request; the service batches them.
// What a threshold makes of probabilities is decided here, so that moving it asks nobody.

const FIRST = 8; // labels that are shown before one asks for more
const PAUSE = 400; // milliseconds without a key before an edited caption is sent
const AT_ONCE = 4; // photos on their way
const TRIES = 8; // of a request that is told to come back

const $ = (selector, within = document) => within.querySelector(selector);
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
const cards = new Set();
let model = null; // what GET /labels says
let one = null; // the threshold for all labels; null: each has its own

class Problem extends Error {}

// A request's answer; a refusal or no answer at all becomes a Problem in words.
async function ask(path, form, signal) {
  for (let tries = 1; ; tries++) {
    let answer;
    try {
      answer = await fetch(path, form && { method: "POST", body: form, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The service does not answer. Is it still running?");
    }
    if (answer.ok) return answer;
    if (answer.status === 429 && tries < TRIES) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      continue;
    }
    const content = await answer.json().catch(() => ({ detail: `the service answers ${answer.status}` }));
    throw new Problem(sentence(content.photos?.[0]?.error ?? content.detail));
  }
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");

async function learn() {
  model = await (await ask("/labels")).json();
  const seen = { image: "photos", caption: "captions", "image+caption": "photos and their captions" };
  $("#about").textContent = `${model.labels.length} labels, from ${seen[model.inputs]}`;
  model.least = Object.fromEntries(model.labels.map((label) => [label.name, label.threshold]));
}

// So many at once, the others in turn.
const queue = { free: AT_ONCE, waiting: [] };
async function inTurn(work) {
  if (queue.free === 0) await new Promise((go) => queue.waiting.push(go));
  else queue.free--;
  try {
    return await work();
  } finally {
    if (queue.waiting.length) queue.waiting.shift()();
    else queue.free++;
  }
}

class Card {
  constructor(file) {
    this.file = file;
    this.root = $("#card").content.firstElementChild.cloneNode(true);
    this.probabilities = null; // by label
    this.chosen = null; // the label whose heat map is shown
    this.all = false;
    this.rows = new Map();
    this.heading();
    this.listen();
    $("#cards").prepend(this.root);
    cards.add(this);
    this.predict();
  }

  heading() {
    const name = this.file?.name || "A photo";
    $("h2", this.root).textContent = this.file ? name : "A caption";
    $(".caption", this.root).hidden = !model.inputs.includes("caption");
    if (!this.file) {
      this.root.classList.add("wordless");
      $(".photo", this.root).hidden = true;
      return;
    }
    const shown = $(".shown", this.root);
    this.address = URL.createObjectURL(this.file);
    shown.alt = name;
    shown.addEventListener("error", () => {
      shown.hidden = true;
      $(".unshown", this.root).hidden = false;
    });
    shown.addEventListener("load", () => this.place());
    shown.src = this.address;
    $(".remove", this.root).setAttribute("aria-label", `Remove ${name}`);
  }

  listen() {
    $(".remove", this.root).addEventListener("click", () => this.remove());
    const caption = $("textarea", this.root);
    caption.maxLength = model.limits.caption;
    caption.addEventListener("input", () => {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.predict(), PAUSE);
    });
    $(".more", this.root).addEventListener("click", () => {
      this.all = !this.all;
      this.show();
    });
  }

  form(fields = {}) {
    const form = new FormData();
    if (this.file) form.append("photos", this.file);
    const caption = $("textarea", this.root).value.trim();
    if (caption || !this.file) form.append("captions", caption);
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    return form;
  }

  async predict() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.root.classList.add("waiting");
    this.root.setAttribute("aria-busy", "true");
    try {
      const limit = model.limits.photo_bytes;
      if (this.file?.size > limit)
        throw new Problem(`This file has more than ${(limit / 2 ** 20).toFixed(0)} MB.`);
      const answer = await inTurn(() => ask("/predict", this.form(), asking.signal));
      const content = await answer.json();
      if (content.model !== model.model) await learn(); // a new model came in use
      this.probabilities = content.photos[0].probabilities;
      this.tell(null);
      this.show();
      if (this.chosen !== null) this.explain(this.chosen);
    } catch (error) {
      if (error.name === "AbortError") return; // a newer caption is on its way
      if (!(error instanceof Problem)) throw error;
      this.probabilities = null;
      this.tell(error.message);
      this.show();
    } finally {
      if (this.asking === asking) {
        this.root.classList.remove("waiting");
        this.root.removeAttribute("aria-busy");
      }
    }
  }

  tell(problem) {
    const place = $(".answer .problem", this.root);
    place.hidden = problem === null;
    place.textContent = problem ?? "";
  }

  // Draws what is known anew; elements stay, so that focus does.
  show() {
    const ranked = Object.entries(this.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
    const holding = [];
    const bars = $(".bars", this.root);
    ranked.forEach(([name, share], place) => {
      const least = one ?? model.least[name] ?? 1;
      const holds = share >= least;
      if (holds) holding.push(name);
      const row = this.row(name);
      row.hidden = !this.all && !holds && place >= FIRST && name !== this.chosen;
      row.classList.toggle("holds", holds);
      row.style.setProperty("--share", share);
      row.style.setProperty("--least", least);
      $(".figure", row).textContent = percent(share);
      if (bars.children[place] !== row) bars.insertBefore(row, bars.children[place] ?? null);
    });
    for (const [name, row] of this.rows) if (!(name in (this.probabilities ?? {}))) row.remove();
    this.say(holding);
    const more = $(".more", this.root);
    more.hidden = ranked.length <= FIRST;
    more.textContent = this.all ? "Fewer labels" : `All ${ranked.length} labels`;
    more.setAttribute("aria-expanded", this.all);
    $(".hint", this.root).hidden = !(model.explains && this.file && this.probabilities && this.chosen === null);
  }

  say(holding) {
    const verdict = $(".verdict", this.root);
    const text = this.probabilities ? holding.join(", ") || "No label holds" : "";
    if (verdict.textContent !== text) verdict.textContent = text; // or it would be read out again
  }

  row(name) {
    if (this.rows.has(name)) return this.rows.get(name);
    const row = $("#bar").content.firstElementChild.cloneNode(true);
    const button = $("button", row);
    $(".name", row).textContent = name;
    button.disabled = !(model.explains && this.file);
    if (!button.disabled) {
      button.setAttribute("aria-pressed", "false");
      button.title = `Where the photo speaks for ${name}`;
      button.addEventListener("click", () => this.choose(this.chosen === name ? null : name));
    }
    this.rows.set(name, row);
    return row;
  }

  choose(name) {
    this.chosen = name;
    for (const [each, row] of this.rows)
      if (!$("button", row).disabled) $("button", row).setAttribute("aria-pressed", each === name);
    if (name === null) this.cool();
    else this.explain(name);
    this.show();
  }

  async explain(name) {
    this.explaining?.abort();
    const explaining = (this.explaining = new AbortController());
    try {
      const answer = await ask("/explain", this.form({ label: name }), explaining.signal);
      const drawn = URL.createObjectURL(await answer.blob());
      if (this.chosen !== name) return URL.revokeObjectURL(drawn);
      const heat = $(".heat", this.root);
      if (heat.src) URL.revokeObjectURL(heat.src);
      heat.src = drawn;
      heat.alt = `Warm where the photo speaks for ${name}`;
      heat.hidden = false;
      this.root.classList.add("warm");
      this.place();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      this.choose(null);
      this.tell(error.message);
    }
  }

  cool() {
    this.explaining?.abort();
    $(".heat", this.root).hidden = true;
    this.root.classList.remove("warm");
  }

  // Lays the heat map over the photo as it is shown.
  place() {
    const shown = $(".shown", this.root).getBoundingClientRect();
    const around = $(".photo", this.root).getBoundingClientRect();
    const heat = $(".heat", this.root).style;
    heat.left = `${shown.left - around.left}px`;
    heat.top = `${shown.top - around.top}px`;
    heat.width = `${shown.width}px`;
    heat.height = `${shown.height}px`;
  }

  remove() {
    this.asking?.abort();
    this.cool();
    clearTimeout(this.pause);
    if (this.address) URL.revokeObjectURL(this.address);
    const next = this.root.nextElementSibling ?? this.root.previousElementSibling;
    this.root.remove();
    cards.delete(this);
    (next ? $(".remove", next) : $("#choose")).focus();
    arrange();
  }
}

function arrange() {
  document.body.classList.toggle("has-photos", cards.size > 0);
  $("#decide").hidden = cards.size === 0;
}

function bring(files) {
  tell(null);
  if (model === null) return tell("The model is not known yet. Wait a moment.");
  for (const file of files) new Card(file);
  arrange();
}

function tell(problem) {
  $("#problem").hidden = problem === null;
  $("#problem").textContent = problem ?? "";
}

function decide(value) {
  one = value;
  $("#own").disabled = one === null;
  $("#decide").classList.toggle("own", one === null);
  $("#meaning").textContent = one === null ? "its own threshold" : percent(one);
  $("#threshold").setAttribute("aria-valuetext", $("#meaning").textContent);
  for (const card of cards) card.show();
}

for (const input of [$("#choose"), $("#take")])
  input.addEventListener("change", () => {
    bring(input.files);
    input.value = ""; // so that the same photo can be chosen again
  });

let over = 0; // elements that are dragged over, one within the other
addEventListener("dragenter", () => $("#drop").classList.toggle("over", ++over > 0));
addEventListener("dragleave", () => $("#drop").classList.toggle("over", --over > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  $("#drop").classList.remove("over");
  if (event.dataTransfer.files.length) bring(event.dataTransfer.files);
  else tell("That was no file. Drop photos from a folder.");
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) bring(event.clipboardData.files);
});
addEventListener("resize", () => cards.forEach((card) => card.place()));
$("#threshold").addEventListener("input", (event) => decide(event.target.value / 100));
$("#own").addEventListener("click", () => {
  decide(null);
  $("#threshold").focus();
});

try {
  await learn();
  if (model.inputs === "caption") {
    $("#bring").hidden = true;
    new Card(null);
    $(".remove").hidden = true;
    arrange();
  }
} catch (error) {
  $("#about").textContent = "";
  tell(error.message);
}
