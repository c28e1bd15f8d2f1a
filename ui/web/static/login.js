// Signs in with the token behind "#token=" in the address, or with a pasted one. What is behind "#" never reaches
// a server or its logs by itself; here it goes into the body of one request, and out of the address and history.
const form = document.querySelector("form");
const field = document.querySelector("#token");
const problem = document.querySelector("#problem");
const button = form.querySelector("button");

function destination() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  const target = new URL(next, location.origin);
  return target.origin === location.origin ? target.pathname + target.search : "/";
}

// Tried again, because Chromium aborts what is under way when a container changes the machine's network.
async function post(body, attempts = 3) {
  try {
    return await fetch("/login", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch (error) {
    if (attempts === 1) throw error;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return post(body, attempts - 1);
  }
}

async function signIn(token) {
  button.disabled = true;
  problem.textContent = "";
  try {
    const answer = await post(JSON.stringify({ token }));
    if (answer.ok) return location.replace(destination());
    const { detail } = await answer.json().catch(() => ({}));
    problem.textContent = (detail && detail[0].toUpperCase() + detail.slice(1)) || `The server answered ${answer.status}.`;
  } catch {
    problem.textContent = "The server does not answer.";
  }
  button.disabled = false;
  field.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const token = field.value.trim();
  if (token) signIn(token);
  else field.focus();
});

function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  history.replaceState(null, "", location.pathname + location.search);
  signIn(given);
}

// Whoever follows a link from another site has a session, but the browser keeps its cookie from that first request.
async function continueSession() {
  const answer = await fetch("/api/version").catch(() => undefined);
  if (answer?.ok) location.replace(destination());
}

if (new URLSearchParams(location.hash.slice(1)).has("token")) takeFromAddress();
else continueSession();
window.addEventListener("hashchange", takeFromAddress); // the address was pasted while this page was open
