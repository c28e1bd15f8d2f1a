// Loads the page again when a part of it did not arrive. A started container changes the machine's network
// interfaces, and Chromium then aborts whatever it is loading (net::ERR_NETWORK_CHANGED), also from loopback.
(() => {
  const KEY = "cco-reloads";
  const MOST = 8;
  const FORGET_MS = 30_000;

  function attempts() {
    try {
      const { count, at } = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
      return Date.now() - at < FORGET_MS ? count : 0;
    } catch {
      return 0;
    }
  }

  let due = false;
  window.addEventListener(
    "error",
    (event) => {
      const count = attempts();
      if (due || count >= MOST || !["SCRIPT", "LINK"].includes(event.target?.tagName)) return;
      due = true;
      sessionStorage.setItem(KEY, JSON.stringify({ count: count + 1, at: Date.now() }));
      setTimeout(() => location.reload(), 300 * (count + 1));
    },
    true,
  );
})();
