// Ends the session and goes to the sign-in page.
const { h } = Vue;

export default {
  methods: {
    async leave() {
      await fetch("/logout", { method: "POST" }).catch(() => {});
      window.location.assign("/login");
    },
  },
  render() {
    const props = { type: "button", class: "button quiet square", title: "Sign out", "aria-label": "Sign out" };
    return h("button", { ...props, onClick: this.leave }, h("span", { class: "icon icon-leave", "aria-hidden": "true" }));
  },
};
