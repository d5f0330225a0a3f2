// Elements, requests, and how numbers look. All text is set as text, never as markup.
export const $ = id => document.getElementById(id);

export function add(parent, tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (kind) element.className = kind;
  parent.append(element);
  return element;
}

export function bar(parent, part, kind = "") {
  const track = add(parent, "div", undefined, `track ${kind}`);
  add(track, "i").style.setProperty("--part", Math.max(0, Math.min(1, part)));
  return track;
}

export function picture(parent, address, text) {
  const image = add(parent, "img");
  show(image, address, text);
  return image;
}

export function show(image, address, text) {
  image.classList.remove("tiny");
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth < 80);
  image.onerror = () => image.parentElement && image.parentElement.classList.add("lost");
  image.loading = "lazy";
  image.alt = text;
  image.src = address;
}

export const share = p => p >= 0.9995 ? p.toFixed(4) : p >= 0.001 || p === 0 ? p.toFixed(3) : p.toExponential(1);
export const number = x => String(+x.toPrecision(4));

export async function ask(address, body, kind = "application/json") {
  const sent = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": kind }, body: kind === "application/json" ? JSON.stringify(body) : body };
  let answer;
  try {
    answer = await fetch(address, sent);
  } catch {
    throw new Error("the server does not answer; is `kfr serve` still running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error || `the server says ${answer.status}`);
  return found;
}

// Run one job at a time; of those asked for meanwhile, only the last.
export function oneByOne(job, failed) {
  let busy = false, waiting = null;
  return async (...given) => {
    if (busy) { waiting = given; return; }
    busy = true;
    for (let next = given; next; next = waiting && [...waiting]) {
      waiting = null;
      try { await job(...next); } catch (error) { failed(error); }
    }
    busy = false;
  };
}

// Tabs: one is shown; arrow keys go round.
export function tabs(bar, shown) {
  const all = () => [...bar.children].filter(tab => tab.offsetParent !== null);
  const choose = (tab, focus) => {
    for (const other of bar.children) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", chosen);
      other.tabIndex = chosen ? 0 : -1;
      $(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    if (shown) shown(tab.id);
  };
  bar.addEventListener("click", e => e.target.closest("[role=tab]") && choose(e.target.closest("[role=tab]")));
  bar.addEventListener("keydown", e => {
    const there = all(), at = there.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1 }[e.key];
    if (to === undefined || at < 0) return;
    e.preventDefault();
    choose(there[(to + there.length) % there.length], true);
  });
  return choose;
}
