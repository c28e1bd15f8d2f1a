// Goes round automatic, light and dark; static/theme.js applies and remembers the choice.
const { h } = Vue;

export default {
  data: () => ({ choice: window.ccoTheme.choice }),
  mounted() {
    this.follow = (event) => (this.choice = event.detail);
    window.addEventListener("cco-theme", this.follow);
  },
  unmounted() {
    window.removeEventListener("cco-theme", this.follow);
  },
  render() {
    const text = `Theme: ${this.choice}`;
    return h(
      "button",
      {
        type: "button",
        class: "button quiet square",
        title: text,
        "aria-label": text,
        onClick: () => window.ccoTheme.next(),
      },
      h("span", { class: `icon icon-${this.choice}`, "aria-hidden": "true" }),
    );
  },
};
