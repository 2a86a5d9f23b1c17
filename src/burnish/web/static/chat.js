// Asks the champion and shows its reply as it comes. What a model says is only ever set as text.
"use strict";
const words = at("words").dataset;
let history = [];
let running = null;

function turn(who, text) {
  const made = at("turn").content.cloneNode(true).firstElementChild;
  made.querySelector(".who").textContent = who;
  made.querySelector(".said").textContent = text;
  made.classList.add(who === words.you ? "mine" : "theirs");
  at("turns").append(made);
  return made;
}

async function ask(text) {
  const earlier = at("alone").checked ? [] : history;
  const messages = [...earlier, { role: "user", content: text }];
  turn(words.you, text);
  const shown = turn(words.ref, "");
  const said = shown.querySelector(".said");
  let reply = "";
  let id = null;
  running = new AbortController();
  busy(true);
  at("status").textContent = words.loading;
  try {
    const asked = {
      model: "champion",
      messages,
      stream: true,
      temperature: at("temperature").valueAsNumber,
      max_tokens: at("most").valueAsNumber,
    };
    const answer = await post("/chat/replies", asked, running.signal);
    at("status").textContent = "";
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") break;
      const told = JSON.parse(data);
      if (told.error) throw new Error(told.error.message);
      id = told.id;
      reply += told.choices[0]?.delta?.content ?? "";
      said.textContent = reply;
    }
    history = [...messages, { role: "assistant", content: reply }];
    judge(shown, id, reply);
  } catch (error) {
    at("status").textContent = error.name === "AbortError" ? "" : `${words.failed}: ${error.message}`;
    if (!reply) shown.remove();
  } finally {
    busy(false);
  }
}

function busy(yes) {
  at("send").disabled = yes;
  at("halt").hidden = !yes;
  if (!yes) at("message").focus();
}

// Thumbs and a correction under a reply.
function judge(shown, id, reply) {
  const bar = at("verdict").content.cloneNode(true).firstElementChild;
  const form = bar.querySelector("form");
  const box = form.querySelector("textarea");
  box.value = reply;
  const tell = async (body) => {
    try {
      await post("/chat/feedback", { id, ...body });
      at("status").textContent = words.thanks;
      return true;
    } catch (error) {
      at("status").textContent = error.message;
      return false;
    }
  };
  for (const thumb of bar.querySelectorAll("[data-thumbs]")) {
    thumb.addEventListener("click", async () => {
      if (!(await tell({ thumbs: thumb.dataset.thumbs }))) return;
      thumb.setAttribute("aria-pressed", "true");
      for (const one of bar.querySelectorAll("[data-thumbs]")) one.disabled = true;
    });
  }
  bar.querySelector("[data-correct]").addEventListener("click", () => {
    form.hidden = !form.hidden;
    if (!form.hidden) box.focus();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await tell({ better: box.value })) form.remove();
  });
  shown.append(bar);
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("message").value.trim();
  if (!text || at("send").disabled) return;
  at("message").value = "";
  ask(text);
});
enterSends(at("message"));
at("halt").addEventListener("click", () => running.abort());
at("afresh").addEventListener("click", () => {
  running?.abort();
  history = [];
  at("turns").replaceChildren();
  at("status").textContent = "";
  at("message").focus();
});
