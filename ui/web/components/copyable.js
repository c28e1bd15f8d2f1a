// A line of text with a button that copies it.
const { h } = Vue;

function copyWithoutClipboard(text) {
  // navigator.clipboard exists on secure origins only; a phone on the local network has none.
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copying was refused");
}

export default {
  props: { text: String, label: String },
  data: () => ({ word: "Copy" }),
  methods: {
    async copy() {
      try {
        await (navigator.clipboard ? navigator.clipboard.writeText(this.text) : copyWithoutClipboard(this.text));
        this.word = "Copied";
      } catch {
        this.word = "Press Ctrl+C";
        window.getSelection().selectAllChildren(this.$refs.code);
      }
      setTimeout(() => (this.word = "Copy"), 2000);
    },
  },
  render() {
    return h("div", { class: "copyable" }, [
      h("code", { ref: "code", tabindex: 0 }, this.text),
      h("button", { type: "button", class: "button quiet small", "aria-label": `Copy ${this.label}`, onClick: this.copy }, [
        h("span", { class: "icon icon-copy", "aria-hidden": "true" }),
        h("span", { role: "status" }, this.word),
      ]),
    ]);
  },
};
