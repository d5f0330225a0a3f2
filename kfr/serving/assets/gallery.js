// Images as cards, and the way a search took.
import { $, add, bar, number, picture, share } from "./dom.js";

export const thumbnail = (about, position) => `/thumbnail/${position}?${about.start}`;

// Lay out images as buttons; `chosen(image)` is called with the one that is pressed.
export function cards(about, list, images, chosen, wishes = []) {
  list.replaceChildren();
  images.forEach((image, i) => {
    const card = add(add(list, "li"), "button", undefined, "card");
    card.type = "button";
    card.dataset.position = image.position;
    card.addEventListener("click", () => chosen(image));
    const text = image.label || image.name;
    const shown = picture(card, thumbnail(about, image.position), "");
    shown.title = image.name;
    add(card, "b", image.similarity === undefined ? text : `${i + 1}. ${text}`);
    if (image.similarity === undefined) return;
    const grade = image.relevance === null ? "" : `, relevance ${image.relevance.toFixed(2)}`;
    add(card, "span", `cosine ${image.similarity.toFixed(3)}${grade}`, "soft");
    const worth = framed(image);
    if (worth !== null) {
      card.classList.add("graded");
      card.style.setProperty("--grade", worth);
    }
    image.meets.forEach((met, c) => {
      if (met !== null) add(card, "span", `${met ? "✓" : "✗"} ${wishes[c]}`, met ? "yes" : "no");
    });
  });
}

// What the frame tells: the share of conditions that are met; where none is asked, the relevance.
function framed(image) {
  if (!image.meets.length) return image.relevance;
  const known = image.meets.filter(met => met !== null);
  return known.length ? known.filter(met => met).length / known.length : null;
}

// How likely each condition was before and after.
export function reached(box, conditions, wishes) {
  box.replaceChildren();
  conditions.forEach((one, i) => {
    const row = add(box, "div", undefined, "reach");
    add(row, "b", wishes[i]);
    const two = add(row, "div", undefined, "two");
    bar(two, one.before, "was");
    bar(two, one.after);
    add(row, "span", `${share(one.before)} → ${share(one.after)}`, "n");
  });
}

export function way(about, answer, wishes, chosen) {
  $("way").hidden = !answer.steps;
  if (!answer.steps) return;
  $("points").replaceChildren();
  for (const point of answer.path) {
    const item = add($("points"), "li");
    if (point.nearest) {
      const button = add(item, "button", undefined, "card");
      button.type = "button";
      button.addEventListener("click", () => chosen(point.nearest));
      picture(button, thumbnail(about, point.nearest.position), "");
      add(button, "b", point.nearest.label || point.nearest.name);
    }
    add(item, "div", `t${point.step}`);
    add(item, "div", `moved ${number(point.moved)}`, "soft");
    point.masses.forEach((p, c) => add(item, "div", `${wishes[c]} ${share(p)}`, "soft"));
  }
  $("chart").replaceChildren();
  if (answer.steps.masses.length > 2) chart($("chart"), answer.steps, wishes);
}

function line(parent, tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

// The probability of each condition over the steps; the best step is marked.
function chart(box, steps, wishes) {
  box.replaceChildren();
  const wide = Math.max(300, Math.min(760, box.clientWidth || 760)), high = 190, left = 34, low = 164, top = 8, last = Math.max(1, steps.masses.length - 1);
  const x = step => left + (wide - left - 10) * step / last, y = p => low - (low - top) * p;
  const svg = line(box, "svg", { viewBox: `0 0 ${wide} ${high}`, role: "img" });
  line(svg, "title", {}, "probability of each condition over the steps");
  for (const p of [0, 0.5, 1]) {
    line(svg, "line", { class: "axis", x1: left, x2: wide - 10, y1: y(p), y2: y(p) });
    line(svg, "text", { x: left - 6, y: y(p) + 4, "text-anchor": "end" }, p);
  }
  for (const step of [0, last])
    line(svg, "text", { x: x(step), y: high - 8, "text-anchor": step ? "end" : "start" }, `t${step}`);
  const best = x(steps.best);
  line(svg, "line", { class: "best", x1: best, x2: best, y1: top, y2: low });
  if (steps.best > last * 0.06 && steps.best < last * 0.92)
    line(svg, "text", { x: best, y: high - 8, "text-anchor": "middle" }, `best: t${steps.best}`);
  const keys = add(box, "div");
  wishes.forEach((wish, c) => {
    const points = steps.masses.map((row, step) => `${x(step).toFixed(1)},${y(row[c]).toFixed(1)}`);
    line(svg, "polyline", { points: points.join(" "), class: `c${c % 6}` });
    const key = add(keys, "span", undefined, "key");
    add(key, "i", undefined, `c${c % 6}`);
    add(key, "span", wish);
  });
}
