// The tab's title, patched like any other text.
export default {
  props: { text: String },
  mounted() {
    document.title = this.text;
  },
  updated() {
    document.title = this.text;
  },
  render() {
    void this.text; // read it here, so that a change causes an update
    return null;
  },
};
