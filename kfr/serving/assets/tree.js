// The hierarchy as a tree to choose conditions from: mouse, or arrow keys and Enter.
import { add } from "./dom.js";

const MOST = 300; // nodes found
const OPEN = 24;  // rows to begin with

export class Tree {
  // `signs` maps a node to 1 (to be that) or -1 (not to be that); `changed(node)` asks for the next.
  constructor(box, find, data, labels, signs, changed) {
    Object.assign(this, { box, find, data, signs, changed });
    this.count = data.ids.length;
    this.classes = new Map();
    data.at.forEach((node, k) => this.classes.set(node, [...(this.classes.get(node) || []), labels[k]]));
    this.above = new Array(this.count).fill(-1);
    this.below = data.ids.map(() => []);
    this.roots = [];
    for (let n = 0; n < this.count; n++) this.hang(n);
    const named = (p, q) => data.names[p].localeCompare(data.names[q]) || p - q;
    for (const some of [...this.below, this.roots]) some.sort(named);
    this.open = new Set();
    this.unfold();
    this.focused = this.roots[0];
    box.addEventListener("click", e => this.click(e));
    box.addEventListener("keydown", e => this.key(e));
    find.addEventListener("input", () => this.draw());
    find.addEventListener("keydown", e => {
      if (e.key === "ArrowDown" && this.rows.length) { e.preventDefault(); this.focus(this.rows[0].node); }
    });
    this.draw();
  }

  // A node stands under the parent that is nearest to a root.
  hang(n) {
    const { offsets, parents, depth } = this.data;
    const all = parents.slice(offsets[n], offsets[n + 1]);
    if (!all.length) { this.roots.push(n); return; }
    this.above[n] = all.reduce((p, q) => depth[q] < depth[p] ? q : p);
    this.below[this.above[n]].push(n);
  }

  // Open level by level while there are few rows; ways without a fork all the way.
  unfold() {
    let level = this.roots, rows = level.length;
    while (level.length) {
      const inner = level.filter(n => this.below[n].length);
      const next = inner.flatMap(n => this.below[n]);
      if (rows + next.length > OPEN && next.length > level.length) break;
      inner.forEach(n => this.open.add(n));
      rows += next.length;
      level = next;
    }
  }

  title(n) {
    const labels = (this.classes.get(n) || []).filter(l => l !== this.data.names[n]);
    return this.data.names[n] + (labels.length ? `  [${labels.join(", ")}]` : "");
  }

  // The nodes that a text is in, and all that lie above them.
  matching(text) {
    const shown = new Set(), hits = [];
    for (let n = 0; n < this.count && hits.length < MOST; n++) {
      const names = [this.data.names[n], this.data.ids[n], ...(this.classes.get(n) || [])];
      if (names.some(name => name.toLocaleLowerCase().includes(text))) hits.push(n);
    }
    for (const hit of hits) for (let n = hit; n >= 0 && !shown.has(n); n = this.above[n]) shown.add(n);
    return shown;
  }

  visible() {
    const text = this.find.value.trim().toLocaleLowerCase();
    const shown = text ? this.matching(text) : null;
    const rows = [], stack = this.roots.map((n, i) => [n, 0, i, this.roots.length]).reverse();
    while (stack.length) {
      const [n, level, place, of] = stack.pop();
      if (shown && !shown.has(n)) continue;
      const inside = shown ? this.below[n].filter(c => shown.has(c)) : this.below[n];
      const open = shown ? inside.length > 0 : this.open.has(n);
      rows.push({ node: n, level, place, of, inner: this.below[n].length > 0, open });
      if (open) for (let i = inside.length - 1; i >= 0; i--) stack.push([inside[i], level + 1, i, inside.length]);
    }
    return rows;
  }

  draw() {
    const had = this.box.contains(document.activeElement);
    this.rows = this.visible();
    if (!this.rows.some(row => row.node === this.focused)) this.focused = this.rows.length ? this.rows[0].node : -1;
    this.box.replaceChildren();
    for (const row of this.rows) this.drawRow(row);
    if (!this.rows.length) add(this.box, "p", "nothing is called so", "soft");
    if (had) this.focus(this.focused);
  }

  drawRow({ node, level, place, of, inner, open }) {
    const sign = this.signs.get(node) || 0;
    const row = add(this.box, "div", undefined, `row ${["never", "", "want"][sign + 1]}`);
    const set = (name, value) => row.setAttribute(name, value);
    row.style.setProperty("--level", Math.min(level, 12));
    row.dataset.node = node;
    row.tabIndex = node === this.focused ? 0 : -1;
    set("role", "treeitem"); set("aria-level", level + 1);
    set("aria-posinset", place + 1); set("aria-setsize", of);
    set("aria-selected", sign !== 0);
    if (inner) set("aria-expanded", open);
    set("aria-label", this.title(node) + ["; not to be that", "", "; to be that"][sign + 1]);
    row.title = this.data.glosses[node] || this.data.ids[node];
    add(row, "span", inner ? (open ? "▾" : "▸") : "", "twisty");
    if (sign) add(row, "span", sign > 0 ? "✓" : "✗");
    add(row, "span", this.title(node), this.classes.has(node) ? "name leaf" : "name");
    if (inner) add(row, "span", this.data.covers[node], "soft").title = "classes";
  }

  element(node) { return this.box.querySelector(`[data-node="${node}"]`); }

  focus(node) {
    const before = this.element(this.focused), now = this.element(node);
    if (before) before.tabIndex = -1;
    this.focused = node;
    if (now) { now.tabIndex = 0; now.focus(); }
  }

  toggle(node, open) {
    if (open) this.open.add(node); else this.open.delete(node);
    this.draw();
  }

  click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const node = +row.dataset.node;
    this.focused = node;
    const inner = this.below[node].length > 0;
    if (inner && event.target.classList.contains("twisty")) this.toggle(node, !this.open.has(node));
    else this.changed(node);
    this.focus(node);
  }

  key(event) {
    const at = this.rows.findIndex(row => row.node === this.focused), row = this.rows[at];
    if (!row || event.ctrlKey || event.altKey || event.metaKey) return;
    const go = to => this.focus(this.rows[Math.max(0, Math.min(this.rows.length - 1, to))].node);
    const moves = {
      ArrowDown: () => go(at + 1), ArrowUp: () => go(at - 1),
      Home: () => go(0), End: () => go(this.rows.length - 1),
      ArrowRight: () => row.inner && !row.open ? this.toggle(row.node, true) : row.inner && go(at + 1),
      ArrowLeft: () => row.inner && row.open && !this.find.value ? this.toggle(row.node, false)
        : this.above[row.node] >= 0 && this.focus(this.above[row.node]),
      Enter: () => this.changed(row.node), " ": () => this.changed(row.node),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }
}
