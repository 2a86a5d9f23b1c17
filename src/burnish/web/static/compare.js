// Asks two models the same, shows both replies as they come, and takes a vote. What models say is
// only ever set as text; the rating table is made, and escaped, by the server.
"use strict";
const words = at("words").dataset;
const sides = ["left", "right"];
let duel = null;
let running = null;

at("voter").value = localStorage.getItem("burnish-voter") ?? "";
for (const name of ["first", "second"]) {
  const kept = localStorage.getItem(`burnish-${name}`);
  if ([...at(name).options].some((one) => one.value === kept)) at(name).value = kept;
}

function voting(yes) {
  for (const one of at("votes").querySelectorAll("button")) one.disabled = !yes;
}

async function follow(side, signal) {
  const said = at(side).querySelector(".said");
  const drawing = {
    temperature: at("temperature").valueAsNumber,
    max_tokens: at("most").valueAsNumber,
  };
  const answer = await post(`/compare/duels/${duel}/${side}`, drawing, signal);
  for await (const data of events(answer.body)) {
    if (data === "[DONE]") return;
    const told = JSON.parse(data);
    if (told.error) throw new Error(told.error.message);
    at("status").textContent = "";
    said.textContent += told.text;
  }
  throw new Error(words.cut);
}

async function ask() {
  running?.abort();
  const mine = (running = new AbortController());
  voting(false);
  for (const name of ["first", "second", "voter"]) {
    localStorage.setItem(`burnish-${name}`, at(name).value);
  }
  for (const side of sides) {
    at(side).querySelector(".said").textContent = "";
    at(side).querySelector(".who").textContent = "";
    at(side).classList.remove("won");
  }
  at("sides").hidden = at("votes").hidden = false;
  at("status").textContent = words.loading;
  try {
    const asked = { first: at("first").value, second: at("second").value, prompt: at("prompt").value };
    const begun = await post("/compare/duels", asked, mine.signal);
    duel = (await begun.json()).duel;
    await Promise.all(sides.map((side) => follow(side, mine.signal)));
    at("status").textContent = "";
    voting(true);
    at("prompt").blur(); // so that 1, 2 and 3 are votes
  } catch (error) {
    if (mine !== running) return; // another question was asked since
    mine.abort();
    at("status").textContent = `${words.failed}: ${error.message}`;
  }
}

async function vote(choice) {
  if (!at("voter").value.trim()) {
    at("status").textContent = words.named;
    at("voter").focus();
    return;
  }
  voting(false);
  try {
    const answer = await post("/compare/votes", { duel, choice, voter: at("voter").value });
    const told = await answer.json();
    for (const side of sides) at(side).querySelector(".who").textContent = told[side];
    if (choice !== "tie") at(choice).classList.add("won");
    at("ratings").innerHTML = told.ratings;
    const kept = words.kept.replace("{left}", () => told.left).replace("{right}", () => told.right);
    at("status").textContent = kept;
  } catch (error) {
    at("status").textContent = error.message;
    voting(true);
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
enterSends(at("prompt"));
for (const one of at("votes").querySelectorAll("button")) {
  one.addEventListener("click", () => vote(one.dataset.choice));
}
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select")) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const chosen = at("votes").querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`);
  if (chosen) chosen.click();
  if (event.key.toLowerCase() === "n") {
    event.preventDefault();
    at("prompt").select();
    at("prompt").focus();
  }
});
