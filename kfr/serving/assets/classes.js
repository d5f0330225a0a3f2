// What an image is taken for, and which classes are near one another.
import { $, add, ask, bar, number, picture, share } from "./dom.js";
import { thumbnail } from "./gallery.js";

export function recognised(answer, toClass) {
  $("recognised").hidden = false;
  $("no-image").hidden = true;
  $("answer").textContent = `${answer.answer.name}, ${share(answer.answer.probability)} sure`;
  $("answer-gloss").textContent = answer.answer.gloss;
  const lineage = $("lineage");
  lineage.replaceChildren();
  for (const step of [...answer.path].reverse()) {
    const item = add(lineage, "li", undefined, step.node === answer.answer.node ? "chosen" : "");
    add(item, "span", step.name, "label");
    add(item, "span", share(step.probability), "n");
    bar(item, step.probability);
    if (step.gloss) add(item, "p", step.gloss, "soft gloss");
  }
  const others = $("others");
  others.replaceChildren();
  for (const other of answer.others) {
    const item = add(others, "li");
    classLink(item, other, toClass);
    add(item, "span", share(other.probability), "n");
    bar(item, other.probability);
  }
  $("attributes").replaceChildren();
  for (const attribute of answer.attributes) {
    add($("attributes"), "h2", attribute.name);
    const list = add($("attributes"), "ol", undefined, "bars");
    for (const likely of attribute.values) {
      const item = add(list, "li");
      add(item, "span", likely.value, "label");
      add(item, "span", share(likely.probability), "n");
      bar(item, likely.probability);
    }
  }
}

function classLink(item, one, toClass) {
  const link = add(item, "button", one.label, "link label");
  link.type = "button";
  link.addEventListener("click", () => toClass(one.class));
}

// The distances from one class; a class that is pressed is the next one.
export class Distances {
  constructor(about) {
    this.about = about;
    this.byLabel = new Map(about.labels.map((label, k) => [label, k]));
    for (const label of about.labels) add($("classes"), "option").value = label;
    $("class").addEventListener("input", () => {
      const k = this.byLabel.get($("class").value);
      if (k !== undefined) this.show(k);
    });
    $("latent-half").hidden = !about.latent;
    this.shown = null;
  }

  async show(k) {
    const found = await ask(`/api/distances?class=${k}&count=12`);
    this.shown = k;
    $("class").value = this.about.labels[k];
    const one = $("one");
    one.replaceChildren();
    if (found.example !== null) picture(one, thumbnail(this.about, found.example), "");
    const text = add(one, "div");
    add(text, "b", found.label);
    add(text, "div", found.gloss, "soft");
    this.rows($("known"), found.known, row => [number(row.distance), `both are: ${row.ancestor}`]);
    if (found.latent)
      this.rows($("latent"), found.latent, row => [`${row.distance.toFixed(3)} (${number(row.known)})`, ""]);
    else $("latent").replaceChildren(document.createTextNode("The index has no image of this class."));
  }

  rows(list, rows, text) {
    list.replaceChildren();
    const most = Math.max(...rows.map(row => row.distance), 1e-9);
    for (const row of rows) {
      const item = add(list, "li"), [far, more] = text(row);
      if (row.example !== null) picture(item, thumbnail(this.about, row.example), "");
      classLink(item, row, k => this.show(k));
      add(item, "span", far, "n");
      bar(item, row.distance / most);
      if (more) add(item, "p", more, "soft gloss");
    }
  }
}
