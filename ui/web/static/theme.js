// Light, dark or as the system says; runs before the first paint so that nothing flashes.
(() => {
  const KEY = "cco-theme";
  const CHOICES = ["auto", "light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function read() {
    try {
      const choice = localStorage.getItem(KEY);
      return CHOICES.includes(choice) ? choice : "auto";
    } catch {
      return "auto"; // storage may be forbidden; the toggle then lasts until the page is left
    }
  }

  function apply(choice) {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    root.dataset.theme = dark ? "dark" : "light";
    root.dataset.themeChoice = choice;
    document.querySelectorAll("[data-theme-toggle]").forEach(describe);
  }

  function describe(button) {
    const text = `Theme: ${root.dataset.themeChoice}`;
    button.title = text;
    button.setAttribute("aria-label", text);
  }

  apply(read());
  system.addEventListener("change", () => apply(root.dataset.themeChoice));
  window.addEventListener("storage", (event) => event.key === KEY && apply(read()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-toggle]")) return;
    const next = CHOICES[(CHOICES.indexOf(root.dataset.themeChoice) + 1) % CHOICES.length];
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // not remembered, still applied
    }
    apply(next);
  });
})();
