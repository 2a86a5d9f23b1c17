// Puts the parts of a run's page in place as the server draws them anew, without losing what the
// reader opened, scrolled to or has the focus on.
"use strict";
const root = document.querySelector("[data-live]");
const source = new EventSource(root.dataset.live);

function kept(part) {
  return {
    open: [...part.querySelectorAll("details[open][id]")].map((one) => one.id),
    scrolled: [...part.querySelectorAll(".scroll, .log")].map((one) => [
      one.scrollLeft,
      // A log that shows its end goes on showing it.
      one.scrollTop + one.clientHeight >= one.scrollHeight - 4 ? 1e9 : one.scrollTop,
    ]),
  };
}

source.onmessage = (event) => {
  const told = JSON.parse(event.data);
  const part = root.querySelector(`[data-part="${told.part}"]`);
  if (part.innerHTML === told.html || part.contains(document.activeElement)) return;
  const before = kept(part);
  part.innerHTML = told.html;
  for (const id of before.open) document.getElementById(id)?.setAttribute("open", "");
  part.querySelectorAll(".scroll, .log").forEach((one, place) => {
    const at = before.scrolled[place];
    if (at) [one.scrollLeft, one.scrollTop] = at;
  });
};

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
window.addEventListener("pagehide", () => source.close());
