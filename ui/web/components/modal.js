// A native modal dialog: the browser keeps the focus inside, dims the page and closes on Escape.
const { h } = Vue;

export default {
  props: { open: Boolean, label: String },
  emits: ["dismiss"],
  watch: {
    open(wanted) {
      wanted ? this.show() : this.$refs.dialog.close();
    },
  },
  mounted() {
    if (this.open) this.show();
  },
  methods: {
    show() {
      if (this.$refs.dialog.open) return;
      this.$refs.dialog.showModal();
      this.$nextTick(() => this.$refs.dialog.querySelector("[data-focus]")?.focus());
    },
  },
  render() {
    return h(
      "dialog",
      {
        ref: "dialog",
        class: "modal",
        "aria-label": this.label,
        onClose: () => this.open && this.$emit("dismiss"),
        // The dialog's own box is filled by its content: a press on the element itself is on the dimmed page.
        onMousedown: (event) => event.target === this.$refs.dialog && this.$emit("dismiss"),
      },
      h("div", { class: "modal-body" }, this.$slots.default?.()),
    );
  },
};
