// A search field; tells the server once typing pauses. "/" focuses it from anywhere.
const { h } = Vue;

export default {
  props: { label: String, clears: { type: Number, default: 0 } },
  emits: ["search"],
  watch: {
    clears() {
      this.$refs.input.value = "";
    },
  },
  mounted() {
    this.shortcut = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, textarea, select, dialog")) return;
      event.preventDefault();
      this.$refs.input.focus();
    };
    document.addEventListener("keydown", this.shortcut);
  },
  unmounted() {
    document.removeEventListener("keydown", this.shortcut);
    clearTimeout(this.pause);
  },
  render() {
    return h("div", { class: "search" }, [
      h("span", { class: "icon icon-search", "aria-hidden": "true" }),
      h("input", {
        ref: "input",
        type: "search",
        placeholder: this.label,
        "aria-label": this.label,
        spellcheck: false,
        onInput: (event) => {
          clearTimeout(this.pause);
          this.pause = setTimeout(() => this.$emit("search", event.target.value), 120);
        },
      }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    ]);
  },
};
