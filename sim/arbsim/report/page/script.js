"use strict";
// Without this script everything is there; it opens all parts for printing and copies the replay line.
for (const button of document.querySelectorAll("button[hidden]")) button.hidden = false;
const parts = document.querySelectorAll("details");
const openAll = (open) => parts.forEach((part) => { part.open = open; });
document.getElementById("open-all").addEventListener("click", (event) => {
  const open = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(open));
  openAll(open);
});
document.getElementById("copy").addEventListener("click", async () => {
  const line = document.getElementById("replay");
  const said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(line.textContent);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(line);
    said.textContent = "Selected; copy it with your keyboard.";
  }
});
let before = [];
addEventListener("beforeprint", () => { before = [...parts].map((part) => part.open); openAll(true); });
addEventListener("afterprint", () => { parts.forEach((part, place) => { part.open = before[place]; }); });
const follow = () => {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  const part = target && target.closest("details");
  if (part) part.open = true;
};
addEventListener("hashchange", follow);
follow();
// Explanations: each side can be stepped through; its table has all that there is to say.
const sides = [...document.querySelectorAll(".side")].map((side) => {
  const rows = [...side.querySelectorAll("table.steps tbody tr")];
  const heads = [...side.querySelectorAll("table.steps thead th")].map((cell) => cell.textContent);
  const drawn = side.querySelectorAll("svg [data-step]");
  const range = side.querySelector("input");
  const what = side.querySelector(".what");
  const believed = side.querySelector(".believed");
  const known = (column, step) => {
    for (let row = step; row >= 0; row -= 1) {
      const text = rows[row].cells[column].textContent;
      if (text) return text;
    }
    return "not asked yet";
  };
  const show = (step) => {
    range.value = step;
    const cells = [...rows[step].cells].map((cell) => cell.textContent);
    const words = step ? `${cells[1]} ms, ${cells[2]} ${cells[3]}: ${cells[4]}` : "before the first step";
    what.textContent = `Step ${step} of ${rows.length - 1}: ${words}`;
    range.setAttribute("aria-valuetext", what.textContent);
    believed.replaceChildren(...heads.slice(5).map((head, place) => {
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = head;
      value.textContent = known(place + 5, step);
      value.className = value.textContent === known(heads.length - 1, step) ? "" : "differs";
      const pair = document.createElement("div");
      pair.append(term, value);
      return pair;
    }));
    rows.forEach((row, place) => row.toggleAttribute("aria-current", place === step));
    rows[step].setAttribute("aria-current", "step");
    for (const part of drawn) {
      part.classList.toggle("later", part.dataset.step > step);
      part.classList.toggle("here", Number(part.dataset.step) === step);
    }
  };
  const go = (step) => {
    show(Math.max(0, Math.min(rows.length - 1, step)));
    const place = new URLSearchParams({ step: range.value });
    if (side !== document.querySelector(".side")) {
      place.set("design", side.dataset.design);
      if (side.dataset.side === "twin") place.set("side", "twin");
    }
    history.replaceState(null, "", `#${place}`);
  };
  range.addEventListener("input", () => go(Number(range.value)));
  for (const button of side.querySelectorAll("[data-go]")) {
    const moves = { first: () => 0, back: () => Number(range.value) - 1, forward: () => Number(range.value) + 1 };
    button.addEventListener("click", () => go(moves[button.dataset.go]()));
  }
  side.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && event.target.closest(".scrub") && event.target !== range) {
      event.preventDefault();
      go(Number(range.value) + by);
    }
  });
  for (const part of [...rows, ...drawn]) part.addEventListener("click", () => go(Number(part.dataset.step)));
  side.querySelector(".scrub").hidden = false;
  show(rows.length - 1);
  return { side, go, show, last: rows.length - 1 };
});
const jump = () => {
  const place = new URLSearchParams(location.hash.slice(1));
  if (!place.has("step")) return;
  const which = place.get("side") || "broken";
  const found = sides.find(({ side }) =>
    side.dataset.side === which && side.dataset.design === (place.get("design") || side.dataset.design));
  if (!found) return;
  for (let part = found.side; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  found.show(Math.max(0, Math.min(found.last, Number(place.get("step")) || 0)));
  found.side.scrollIntoView();
};
addEventListener("hashchange", jump);
addEventListener("beforeprint", () => sides.forEach(({ show, last }) => show(last)));
jump();
