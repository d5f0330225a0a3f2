// Attributes and their values, to choose conditions from.
import { add } from "./dom.js";

export class Values {
  // `signs` maps "name=value" to 1 or -1; `changed(key)` asks for the next.
  constructor(box, find, attributes, signs, changed) {
    Object.assign(this, { find, signs });
    this.buttons = [];
    for (const [name, values] of Object.entries(attributes)) {
      const group = add(box, "details");
      group.open = true;
      add(group, "summary", name);
      const list = add(group, "div", undefined, "values");
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", name);
      for (const value of values) {
        const button = add(list, "button", value, "value");
        button.type = "button";
        const key = `${name}=${value}`;
        button.addEventListener("click", () => changed(key));
        this.buttons.push([key, name, value, button]);
      }
    }
    find.addEventListener("input", () => this.draw());
    this.draw();
  }

  draw() {
    const text = this.find.value.trim().toLocaleLowerCase();
    for (const [key, name, value, button] of this.buttons) {
      const sign = this.signs.get(key) || 0;
      button.className = `value ${["never", "", "want"][sign + 1]}`;
      button.setAttribute("aria-pressed", sign !== 0);
      button.setAttribute("aria-label", `${name} ${value}` + ["; not to be that", "", "; to be that"][sign + 1]);
      button.hidden = text !== "" && !sign && ![name, value].some(t => t.toLocaleLowerCase().includes(text));
    }
  }
}
