// A native form that hands its values to the server in one piece when it is submitted.
// Its fields stay uncontrolled: nothing the server patches can overwrite what somebody is typing.
const { h } = Vue;

export default {
  props: { clears: { type: Number, default: 0 }, busy: Boolean },
  emits: ["send"],
  watch: {
    clears() {
      this.$refs.form.reset();
    },
  },
  render() {
    return h(
      "form",
      {
        ref: "form",
        novalidate: true,
        autocomplete: "off",
        onSubmit: (event) => {
          event.preventDefault();
          if (!this.busy) this.$emit("send", Object.fromEntries(new FormData(event.target)));
        },
        onKeydown: (event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.$refs.form.requestSubmit();
        },
      },
      this.$slots.default?.(),
    );
  },
};
