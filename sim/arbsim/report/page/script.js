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
