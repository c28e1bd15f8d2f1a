// Light, dark or as the system says; runs before the first paint so that nothing flashes.
(() => {
  const KEY = "cco-theme";
  const CHOICES = ["auto", "light", "dark"];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function remembered() {
    try {
      const choice = localStorage.getItem(KEY);
      return CHOICES.includes(choice) ? choice : "auto";
    } catch {
      return "auto"; // storage may be forbidden; a choice then lasts until the page is left
    }
  }

  function apply(choice) {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    root.dataset.theme = dark ? "dark" : "light";
    root.dataset.themeChoice = choice;
    window.dispatchEvent(new CustomEvent("cco-theme", { detail: choice }));
  }

  window.ccoTheme = {
    get choice() {
      return root.dataset.themeChoice;
    },
    next() {
      const choice = CHOICES[(CHOICES.indexOf(root.dataset.themeChoice) + 1) % CHOICES.length];
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // not remembered, still applied
      }
      apply(choice);
    },
  };
  apply(remembered());
  system.addEventListener("change", () => apply(root.dataset.themeChoice));
  window.addEventListener("storage", (event) => event.key === KEY && apply(remembered()));
})();
