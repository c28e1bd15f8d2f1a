// A button with a menu in the browser's top layer: never clipped, closed by Escape or a click elsewhere.
const { h } = Vue;

export default {
  props: { label: String, items: { type: Array, default: () => [] } },
  emits: ["pick"],
  methods: {
    place() {
      const button = this.$refs.button.getBoundingClientRect();
      const list = this.$refs.list;
      const below = button.bottom + 4 + list.offsetHeight <= window.innerHeight;
      list.style.top = `${below ? button.bottom + 4 : Math.max(8, button.top - 4 - list.offsetHeight)}px`;
      list.style.left = `${Math.max(8, button.right - list.offsetWidth)}px`;
    },
    toggled(event) {
      const open = event.newState === "open";
      this.$refs.button.setAttribute("aria-expanded", open);
      if (!open) return;
      this.place();
    },
    move(event) {
      const buttons = [...this.$refs.list.querySelectorAll("button")];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus();
    },
    pick(id) {
      this.$refs.list.hidePopover();
      this.$refs.button.focus();
      this.$emit("pick", id);
    },
  },
  mounted() {
    this.$refs.button.popoverTargetElement = this.$refs.list;
    this.shut = () => this.$refs.list.matches(":popover-open") && this.$refs.list.hidePopover();
    window.addEventListener("scroll", this.shut, { passive: true });
  },
  unmounted() {
    window.removeEventListener("scroll", this.shut);
  },
  render() {
    const items = this.items.map(({ id, text, icon, tone }, index) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitem",
          key: id,
          class: `menu-item ${tone || ""}`,
          autofocus: index === 0, // what an opening popover gives the focus to
          onClick: () => this.pick(id),
        },
        [h("span", { class: `icon icon-${icon}`, "aria-hidden": "true" }), text],
      ),
    );
    const props = { type: "button", ref: "button", class: "button quiet square", disabled: !items.length };
    return h("div", { class: "menu" }, [
      h(
        "button",
        { ...props, "aria-label": this.label, "aria-haspopup": "menu", "aria-expanded": "false" },
        h("span", { class: "icon icon-more", "aria-hidden": "true" }),
      ),
      h(
        "div",
        { ref: "list", class: "menu-list", role: "menu", popover: "auto", onToggle: this.toggled, onKeydown: this.move },
        items,
      ),
    ]);
  },
};
