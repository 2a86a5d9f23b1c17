// Chats with the model in this folder, inside the browser. What a model says is only set as text.
import { Wllama } from "./wllama.js";

const LONGEST = 256;
const WORDS = {
  en: {
    title: "Chat with this model",
    about: "It runs in this browser. Nothing that is written here leaves this machine.",
    turns: "Conversation", message: "Message (Enter sends, Shift+Enter breaks the line, Esc stops)",
    send: "Send", stop: "Stop", fresh: "New chat", you: "You", model: "Model",
    loading: "Loading the model", ready: "Ready", writing: "Writing…", failed: "Failed",
    stopped: "Stopped", cut: "Cut off at its longest",
    damaged: "llama.cpp cannot load model.gguf",
    old: "this browser cannot run it; expected Chrome or Edge 137, or Firefox 134, or later",
  },
  zh: {
    title: "与此模型对话",
    about: "模型在本浏览器中运行。此处所写的内容不会离开本机。",
    turns: "对话", message: "消息（Enter 发送，Shift+Enter 换行，Esc 停止）",
    send: "发送", stop: "停止", fresh: "新对话", you: "您", model: "模型",
    loading: "正在加载模型", ready: "就绪", writing: "正在回复…", failed: "失败",
    stopped: "已停止", cut: "已达最大长度，回复被截断",
    damaged: "llama.cpp 无法加载 model.gguf",
    old: "此浏览器无法运行模型；需要 Chrome 或 Edge 137、Firefox 134 或更新版本",
  },
};

const at = (id) => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let state = ["loading", ""];
let messages = [];
let running = null;

function tell(word, more = "") {
  state = [word, more];
  at("status").textContent = WORDS[language][word] + (more && `: ${more}`);
  at("status").classList.toggle("bad", word === "failed");
}

function speak() {
  const words = WORDS[language];
  document.documentElement.lang = language;
  document.title = words.title;
  for (const one of document.querySelectorAll("[data-word]")) {
    one.textContent = words[one.dataset.word];
  }
  for (const one of document.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", words[one.dataset.label]);
  }
  at("language").textContent = language === "en" ? "中文" : "English";
  at("language").lang = language === "en" ? "zh" : "en";
  tell(...state);
}

function turn(who) {
  const made = document.createElement("article");
  const name = made.appendChild(document.createElement("h2"));
  name.dataset.word = who;
  name.textContent = WORDS[language][who];
  made.classList.toggle("mine", who === "you");
  at("turns").append(made);
  return made.appendChild(document.createElement("div"));
}

function show(said, text) {
  said.textContent = text;
  said.scrollIntoView({ block: "end" });
}

function busy(yes) {
  for (const id of ["send", "fresh", "message"]) at(id).disabled = yes;
  at("stop").hidden = !yes;
  at("turns").setAttribute("aria-busy", yes); // a reply is read aloud when it is whole
  (yes ? at("stop") : at("message")).focus();
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: HTTP ${answer.status}`);
  return answer;
}

async function download(name) {
  const answer = await fetched(name);
  const size = Number(answer.headers.get("content-length"));
  const parts = [];
  let loaded = 0;
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    parts.push(value);
    loaded += value.length;
    if (size) at("progress").value = loaded / size;
    tell("loading", `${(loaded / 1e6).toFixed(1)} MB`);
  }
}

function wide() {
  try {
    return Boolean(new WebAssembly.Memory({ address: "i64", initial: 1n }));
  } catch {
    return false;
  }
}

async function load() {
  if (!wide()) throw new Error(WORDS[language].old);
  const told = await (await fetched("burnish.json")).json();
  const engine = new Wllama({ default: "page/wllama.wasm" }, { suppressNativeLog: true });
  engine.setCompat(null); // its build for older browsers would come from another host
  const file = await download("model.gguf");
  await engine.loadModel([file], { n_ctx: told.context, n_gpu_layers: 0, seed: 0 });
  if (!engine.getLoadedContextInfo().success) throw new Error(WORDS[language].damaged);
  return engine;
}

async function ask(engine, text) {
  show(turn("you"), text);
  const said = turn("model");
  const asked = [...messages, { role: "user", content: text }];
  let reply = "";
  let why = null;
  running = new AbortController();
  busy(true);
  tell("writing");
  try {
    const chunks = await engine.createChatCompletion({
      messages: asked, temperature: 0, max_tokens: LONGEST, stream: true,
      abortSignal: running.signal,
    });
    for await (const chunk of chunks) {
      reply += chunk.choices[0]?.delta?.content ?? "";
      why = chunk.choices[0]?.finish_reason ?? why;
      show(said, reply);
    }
    tell(why === "length" ? "cut" : "ready");
  } catch (error) {
    if (!reply) said.parentElement.remove();
    if (error.name === "AbortError") tell("stopped");
    else tell("failed", error.message);
  } finally {
    if (reply) messages = [...asked, { role: "assistant", content: reply }];
    running = null;
    busy(false);
  }
}

at("language").addEventListener("click", () => {
  language = language === "en" ? "zh" : "en";
  speak();
});
at("stop").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
at("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("fresh").addEventListener("click", () => {
  messages = [];
  at("turns").replaceChildren();
  tell("ready");
  at("message").focus();
});

speak();
at("progress").hidden = false;
try {
  const engine = await load();
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = at("message").value.trim();
    if (!text || running) return;
    at("message").value = "";
    ask(engine, text);
  });
  tell("ready");
  busy(false);
} catch (error) {
  tell("failed", error.message);
}
at("progress").hidden = true;
