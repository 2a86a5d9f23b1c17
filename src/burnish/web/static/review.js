// Shows one item after the other, two replies or a single one, and sends what is decided. The next items are here before they are
// asked for, and a decision is on its way while the next one is read. Replies are only set as text.
"use strict";
const root = at("review");
const words = root.dataset;
const FEW = 3; // with fewer items in hand, more are fetched
const MOST = 20; // ids that the server takes
const TRIES = 4;

let queue = [];
let current = null;
let shownAt = 0;
let side = null; // which reply is being improved
let picking = false;
let fetching = false;
let sending = Promise.resolve();
const sent = new Map(); // decisions that the server has not confirmed yet, by item
let past = []; // keys of decisions, for undo
const times = [];

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const fresh = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

async function call(path, body) {
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await post(words.base + path, body);
      return await answer.json().catch(() => null);
    } catch (error) {
      // The answer was lost, perhaps not the request: the same key makes it one decision.
      const lost = error instanceof TypeError; // what fetch throws; a refusal is no such error
      if (!lost || tries === TRIES) throw error;
      await wait(250 * 2 ** tries);
    }
  }
}

function tell(text) {
  at("status").textContent = text;
}

function count(left) {
  at("left").textContent = words.left.replace("{n}", Math.max(0, left - sent.size));
  if (times.length < 5) return;
  const middle = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
  at("pace").textContent = words.pace.replace("{n}", Math.round(3600 / middle));
}

async function refill() {
  if (fetching || queue.length >= FEW) return;
  fetching = true;
  try {
    const held = [current, ...queue].filter(Boolean).map((item) => item.id);
    const told = await call("/items", { held: [...held, ...sent.keys()].slice(0, MOST) });
    const known = new Set([current, ...queue].filter(Boolean).map((item) => item.id));
    for (const item of told.items) {
      if (!known.has(item.id) && !sent.has(item.id)) queue.push(item);
    }
    count(told.left);
    if (!current) show(queue.shift() ?? null);
    if (!current && !sent.size) tell(words.done);
  } catch (error) {
    tell(error.message);
  } finally {
    fetching = false;
  }
}

function next() {
  show(queue.shift() ?? null);
  refill();
}

function show(item) {
  current = item;
  closeEditor();
  at("item").hidden = !item;
  for (const button of document.querySelectorAll("[data-choice], [data-edit], #edit")) {
    button.disabled = !item;
  }
  if (!item) return;
  at("item").dataset.id = item.id;
  at("item").lang = item.lang;
  const kind = alone() ? "single" : "pair";
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== kind;
  const reasons = item.reasons.map((reason) => {
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.textContent = reason;
    return tag;
  });
  at("reasons").replaceChildren(...reasons);
  const turns = item.prompt.map((turn) => {
    const made = at("turn").content.cloneNode(true).firstElementChild;
    made.querySelector(".who").textContent = turn.role;
    made.querySelector(".reply").textContent = turn.content;
    return made;
  });
  at("prompt").replaceChildren(...turns);
  for (const which of ["left", "right"]) at(`reply-${which}`).textContent = item[which];
  shownAt = performance.now();
}

// A single reply: the left button says that it is good, the right one that it is not.
const alone = () => current?.right === null;

function decide(choice, edited = null) {
  if (!current || (choice === "tie" && alone())) return;
  const item = current;
  const seconds = (performance.now() - shownAt) / 1000;
  const body = { item: item.id, choice, key: fresh(), edited, seconds };
  if (choice !== "skip") times.push(seconds);
  past.push(body.key);
  track(item.id, body);
  tell("");
  next();
  sending = sending.then(() => deliver(item, body));
}

// Remembers what is on its way; the page is busy while anything is.
function track(id, body) {
  if (body) sent.set(id, body);
  else sent.delete(id);
  root.setAttribute("aria-busy", String(sent.size > 0));
}

async function deliver(item, body) {
  try {
    const told = await call("/decisions", body);
    track(item.id, null);
    count(told.left);
  } catch (error) {
    track(item.id, null);
    past = past.filter((key) => key !== body.key);
    tell(`${words.failed}: ${error.message}`);
  }
  if (!current) refill();
}

async function undo() {
  const key = past.pop();
  if (!key) return tell(words.nothing);
  await sending; // what is taken back has to be there first
  try {
    const told = await call("/undo", { key });
    if (current) queue.unshift(current);
    show(told.item);
    count(told.left);
    tell(words.back);
  } catch (error) {
    tell(`${words.failed}: ${error.message}`);
  }
}

function edit(which) {
  if (!current || (which === "tie" && alone())) return;
  side = which;
  picking = false;
  tell("");
  at("edited").value = current[which === "tie" || alone() ? "left" : which];
  at("editor").hidden = false;
  at("edited").focus();
}

function closeEditor() {
  side = null;
  picking = false;
  at("editor").hidden = true;
  at("edited").blur();
}

function keep() {
  const text = at("edited").value;
  if (side && text.trim()) decide(side, text);
}

const KEYS = {
  1: () => (picking ? edit("left") : decide("left")),
  2: () => (picking ? edit("right") : decide("right")),
  3: () => (picking ? edit("tie") : decide("tie")),
  s: () => decide("skip"),
  u: undo,
  e: pick,
  "?": () => at("help").showModal(),
  Escape: () => {
    closeEditor();
    tell("");
  },
};

function pick() {
  if (!current) return;
  picking = true;
  tell(alone() ? words.pickAlone : words.pick);
}

document.addEventListener("keydown", (event) => {
  if (at("help").open || event.isComposing || event.altKey || event.repeat) return;
  const writing = event.target.closest?.("textarea, input, select");
  if (writing) {
    if (event.key === "Escape") KEYS.Escape();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      keep();
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => decide(button.dataset.choice));
}
for (const button of document.querySelectorAll("[data-edit]")) {
  button.addEventListener("click", () => edit(button.dataset.edit));
}
at("edit").addEventListener("click", pick);
at("undo").addEventListener("click", undo);
at("ask-help").addEventListener("click", () => at("help").showModal());
at("cancel").addEventListener("click", KEYS.Escape);
at("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  keep();
});
refill();
