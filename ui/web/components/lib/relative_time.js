// How long ago: counts in the browser, so that an ageing row costs the server nothing.
// Like all our components without a template: the page's policy forbids compiling one (see policy.py).
const { h } = Vue;
const STEPS = [[60, "s", 1], [3600, "min", 60], [86400, "h", 3600], [Infinity, "d", 86400]];

const faces = new Set();
setInterval(() => faces.forEach((face) => face.tick()), 1000);

function ago(at, now) {
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  const [, unit, size] = STEPS.find(([limit]) => seconds < limit);
  return `${Math.floor(seconds / size)} ${unit}`;
}

export default {
  props: { at: Number },
  data: () => ({ now: Date.now() }),
  mounted() {
    faces.add(this);
  },
  unmounted() {
    faces.delete(this);
  },
  methods: {
    tick() {
      // An unchanged text must not cause a render: most rows change once a minute or less.
      if (this.at && ago(this.at, Date.now()) !== ago(this.at, this.now)) this.now = Date.now();
    },
  },
  render() {
    if (!this.at) return h("span", { class: "since" });
    const title = new Date(this.at).toLocaleString();
    return h("time", { class: "since", title }, ago(this.at, Math.max(this.now, this.at)));
  },
};
