// One instance in the fleet: a table row on a wide screen, a card on a phone; fleet.css decides.
// Its one property is a JSON text (fleet.py), and what is picked bubbles up to one listener for all rows: the less an
// element has, the cheaper it is for the server to patch.
import Menu from "menu";
import RelativeTime from "relative_time";

const { h } = Vue;

const hidden = { "aria-hidden": "true" };
const text = (value, classes, title = value) => h("span", { class: classes, title: title || null }, value);
const icon = (name) => h("span", { class: `icon icon-${name}`, ...hidden });
const cell = (name, children) => h("div", { class: `cell ${name}`, role: "cell" }, children);
const meter = (share, label, classes = "") =>
  share === null ? null : h("progress", { class: `meter ${classes}`, max: 100, value: share, "aria-label": label });

export default {
  props: { row: String },
  methods: {
    pick(action) {
      const detail = { name: JSON.parse(this.row).name, action };
      this.$el.dispatchEvent(new CustomEvent("pick", { bubbles: true, detail }));
    },
    buttons(name, actions) {
      const [first, ...others] = actions;
      if (!first) return [];
      const label = `${first.text} ${name}`;
      const props = { type: "button", class: "button quiet square", title: label, "aria-label": label };
      return [
        h("button", { ...props, onClick: () => this.pick(first.id) }, icon(first.icon)),
        h(Menu, { label: `More actions for ${name}`, items: others, onPick: this.pick }),
      ];
    },
  },
  render() {
    const row = JSON.parse(this.row);
    const classes = ["row", `state-${row.tone}`, { attention: row.attention }];
    return h("div", { class: classes, role: "row" }, [
      cell("who", [
        h("a", { class: "name clip", href: `/instances/${row.name}` }, row.name),
        h("div", { class: "origin faint small-text" }, [
          icon("repository"),
          text(row.repository, "clip repo"),
          icon("branch"),
          text(row.branch, "clip mono"),
        ]),
      ]),
      cell("state", [text(row.state, "pill", row.reason), text(row.why, "why clip", row.reason)]),
      cell("doing", [text(row.doing, "clip"), h(RelativeTime, { class: "faint small-text", at: row.since })]),
      cell("cpu", [text(row.cpu, "value", null), meter(row.cpuShare, `CPU of ${row.name}`)]),
      cell("memory", [
        h("span", { class: "value" }, [text(row.memory, "", null), text(row.limit, "faint", null)]),
        meter(row.memoryShare, `Memory of ${row.name}`, row.memoryShare >= 85 ? "high" : ""),
      ]),
      cell("age", h(RelativeTime, { class: "soft", at: row.created })),
      cell("actions", this.buttons(row.name, row.actions)),
    ]);
  },
};
