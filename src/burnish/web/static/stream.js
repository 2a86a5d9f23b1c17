// What the pages that talk to the server share: requests with errors in words, streams, and a
// box whose Enter sends.
"use strict";
const at = (id) => document.getElementById(id);

async function post(path, body, signal) {
  return send(path, JSON.stringify(body), "application/json", signal);
}

async function send(path, body, kind, signal) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": kind },
    body,
    signal,
  });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told?.error?.message ?? answer.statusText);
}

// The data of server-sent events, one after the other.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const pieces = (rest + value).split("\n\n");
    rest = pieces.pop();
    for (const piece of pieces) if (piece.startsWith("data: ")) yield piece.slice(6);
  }
}

// Enter sends the form that a box is in; with Shift it begins a new line.
function enterSends(box) {
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      box.form.requestSubmit();
    }
  });
}
