// The page: what is asked, and what is shown of the answers.
import { $, add, ask, oneByOne, show, tabs } from "./dom.js";
import { Distances, recognised } from "./classes.js";
import { cards, reached, way } from "./gallery.js";
import { Tree } from "./tree.js";
import { Values } from "./values.js";

const LARGEST = 20 * 2 ** 20, PAGE = 48, SLIDER = 100;
history.replaceState(null, "", "/"); // the token need not stay in view

let about, tree, values, distances, choose, query = null, start = 0;
const signs = new Map();   // a node, or "attribute=value" -> 1 or -1
const meant = new Map();   // "attribute=value" -> the two
const failed = error => { $("error").textContent = error.message; say(""); };
const say = text => { $("status").textContent = text; };

// The slider is even in log(lambda): 0.01 to 10, and 0 at its left end.
const lambdaAt = at => at <= 0 ? 0 : +(0.01 * 10 ** (3 * (at - 1) / (SLIDER - 1))).toPrecision(2);
const placeOf = value => 1 + Math.round((SLIDER - 1) * Math.log10(value / 0.01) / 3);
const lambda = () => +$("lambda").value === placeOf(1.1) ? 1.1 : lambdaAt(+$("lambda").value);

function wishes() {
  return [...signs].map(([key, sign]) => ({
    text: (sign < 0 ? "not: " : "") + (meant.has(key) ? meant.get(key).value : about.tree.names[key]), sign,
    asked: { ...(meant.get(key) || { node: about.tree.ids[key] }), not: sign < 0 },
    drop: () => set(key, 0),
  }));
}

function set(key, sign) {
  if (sign) signs.set(key, sign); else signs.delete(key);
  tree.draw();
  values.draw();
  chips();
  search();
}

function chips() {
  $("chips").replaceChildren();
  for (const wish of wishes()) {
    const chip = add(add($("chips"), "li"), "button", `${wish.text} ×`, wish.sign < 0 ? "never" : "want");
    chip.type = "button";
    chip.setAttribute("aria-label", `remove the condition ${wish.text}`);
    chip.addEventListener("click", wish.drop);
  }
}

const search = oneByOne(async () => {
  if (query === null || about.images === null) return;
  const asked = wishes(), names = asked.map(wish => wish.text);
  say("searching ...");
  const body = { image: query, conditions: asked.map(w => w.asked), lambda: lambda(), k: +$("k").value,
                 how: $("how").value };
  const answer = await ask("/api/search", body);
  $("error").textContent = "";
  reached($("reached"), answer.conditions, names);
  cards(about, $("hits"), answer.found, pick, names);
  way(about, answer, names, pick);
  const grades = answer.label === null ? [] :
    [`relevance: to ${answer.label}, 1 the same class, 0 only the root in common`];
  $("legend").textContent = [...grades, ...asked.length ? ["frame: conditions met"] : []].join(" · ");
  say(`${answer.found.length} images found`);
}, failed);

const classify = oneByOne(async () => {
  if (query === null) return;
  const threshold = +$("threshold").value;
  recognised(await ask("/api/classify", { image: query, threshold }), toClass);
}, failed);

function toClass(k) {
  choose($("tab-near"));
  distances.show(k).catch(failed);
}

function asked(image, text, address) {
  query = image;
  $("error").textContent = "";
  $("query").hidden = false;
  show($("query"), address, text);
  $("called").textContent = text;
  choose(about.images === null ? $("tab-seen") : $("tab-found"));
  search();
  classify();
}

function pick(image) {
  asked(image.position, image.label ? `${image.label} (${image.name})` : image.name,
        `/image/${image.position}?${about.start}`);
  window.scrollTo({ top: 0 });
}

async function take(file) {
  if (!file) return;
  try {
    if (file.size > LARGEST) throw new Error(`${file.name} is too large; at most 20 MB can be sent`);
    say("sending ...");
    const { image } = await ask("/api/sent", file, "application/octet-stream");
    asked(image, file.name, `/sent/${image}`);
  } catch (error) { failed(error); }
}

const browse = oneByOne(async () => {
  const fields = new URLSearchParams({ text: $("text").value, start, count: PAGE, mixed: $("mixed").checked });
  const page = await ask(`/api/images?${fields}`);
  cards(about, $("browse"), page.images, pick);
  const last = Math.min(start + PAGE, page.total);
  $("where").textContent = page.total ? `${start + 1} to ${last} of ${page.total}` : "none";
  $("before").disabled = start === 0;
  $("next").disabled = last >= page.total;
}, failed);

function listen() {
  const turn = by => { start = Math.max(0, start + by); browse(); };
  $("before").addEventListener("click", () => turn(-PAGE));
  $("next").addEventListener("click", () => turn(PAGE));
  for (const name of ["text", "mixed"]) $(name).addEventListener("input", () => { start = 0; browse(); });
  $("k").addEventListener("change", () => search());
  const lambdaShown = () => { $("lambda-value").textContent = lambda(); };
  $("lambda").value = placeOf(1.1);
  lambdaShown();
  $("lambda").addEventListener("input", () => { lambdaShown(); search(); });
  const student = $("how").options[2];
  student.hidden = student.disabled = about.student === null;
  if (about.student !== null) student.textContent += `, made for λ ${about.student}`;
  $("how").addEventListener("change", () => { $("lambda").disabled = $("how").value === "student"; search(); });
  const sure = () => { $("threshold-value").textContent = (+$("threshold").value).toFixed(2); };
  $("threshold").value = about.threshold;
  sure();
  $("threshold").addEventListener("input", () => { sure(); classify(); });
  $("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, event => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  document.addEventListener("paste", event => take(event.clipboardData.files[0]));
}

async function begin() {
  about = await ask("/api/about");
  document.title = `kfr: ${about.name}`;
  $("title").textContent = about.name;
  const images = about.images === null ? "no index" : `${about.images} images`;
  const facts = Object.entries(about.facts).map(([name, value]) => `${name} ${value.split("(")[0]}`);
  $("facts").title = Object.values(about.facts).join(", ");
  $("facts").textContent = [images, `${about.labels.length} classes`, ...facts].join(" · ");
  $("calibrated").textContent = about.calibrated === null ?
    "(not calibrated: see kfr calibrate)" : `(calibrated: ${about.calibrated})`;
  document.body.classList.toggle("no-index", about.images === null);
  const next = key => set(key, { undefined: 1, 1: -1, "-1": 0 }[signs.get(key)]);
  for (const [attribute, own] of Object.entries(about.attributes))
    for (const value of own) meant.set(`${attribute}=${value}`, { attribute, value });
  values = new Values($("kinds"), $("find"), about.attributes, signs, next);
  tree = new Tree($("tree"), $("find"), about.tree, about.labels, signs, next);
  distances = new Distances(about);
  choose = tabs($("tabs"), id => {
    if (id === "tab-near" && distances.shown === null && about.labels.length) distances.show(0).catch(failed);
  });
  listen();
  $("wish").open = window.matchMedia("(min-width: 901px)").matches;
  choose(about.images === null ? $("tab-seen") : $("tab-images"));
  if (about.images !== null) browse();
}

begin().catch(failed);
