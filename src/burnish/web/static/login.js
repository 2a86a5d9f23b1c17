// The printed link carries the token behind "#", which is never sent. Take it out of the address
// before anything else, so that it stays neither there nor in the history.
"use strict";
const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("login");
  form.elements.token.value = token;
  form.submit();
}
