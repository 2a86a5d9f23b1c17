// Sends a chosen file as it is, and loads the page anew to show what came of it.
"use strict";
const form = at("upload");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = form.elements.file.files[0];
  try {
    const path = `${form.dataset.to}?name=${encodeURIComponent(file.name)}`;
    const answer = await send(path, file, "application/octet-stream");
    const told = await answer.json();
    const said = form.dataset.taken.replace("{new}", told.new).replace("{known}", told.known);
    at("status").textContent = said;
    setTimeout(() => location.reload(), 1200);
  } catch (error) {
    at("status").textContent = error.message;
  }
});
