"use strict";
document.documentElement.classList.add("scripted");
document.addEventListener("DOMContentLoaded", () => {
  const get = (id) => document.getElementById(id);
  const form = get("filter");
  const main = get("notes");
  const picked = get("picked");
  const count = (n) => n.toLocaleString("en");
  const notes = Array.from(main.querySelectorAll(".note"), (node) => ({
    node,
    id: node.querySelector("h2").textContent.toLowerCase(),
    marks: Array.from(node.querySelectorAll("mark"), (mark) => ({
      mark,
      label: mark.dataset.l,
      assertion: mark.dataset.a || "",
      score: Number(mark.dataset.s),
      part: mark.classList.contains("more"),
    })),
  }));
  const wide = matchMedia("(min-width: 60rem)");
  let order = [];
  let at = null;

  function checked(name) {
    const boxes = Array.from(form.elements).filter((box) => box.name === name);
    const values = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    return boxes.length ? (value) => values.has(value) : () => true;
  }

  function apply() {
    const label = checked("label");
    const assertion = checked("assertion");
    const least = Number(get("score").value);
    const wanted = get("find").value.trim().toLowerCase();
    let nNotes = 0;
    get("at").value = least.toFixed(2);
    order = [];
    for (const { node, id, marks } of notes) {
      const here = [];
      for (const { mark, part, ...is } of marks) {
        const on = is.score >= least && label(is.label) && assertion(is.assertion);
        mark.classList.toggle("off", !on);
        if (on && !part) here.push(mark);
      }
      node.hidden = !id.includes(wanted) || (get("hide").checked && !here.length);
      if (!node.hidden) {
        nNotes += 1;
        order.push(here);
      }
    }
    order = order.flat();
    get("shown").textContent =
      `Shown: ${count(order.length)} entities in ${count(nNotes)} of ${count(notes.length)} notes`;
  }

  let asked = 0;
  function applySoon() {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(apply);
  }

  function pick(mark) {
    if (at) at.classList.remove("at");
    at = mark || null;
    picked.hidden = !mark;
    if (!mark) return;
    const note = mark.closest(".note");
    note.open = true;
    mark.classList.add("at");
    mark.tabIndex = -1;
    mark.focus({ preventScroll: true });
    mark.scrollIntoView({ block: "center" });
    picked.textContent =
      `${mark.textContent} · ${mark.title} · note ${note.querySelector("h2").textContent}`;
  }

  function go(step) {
    if (!order.length) return;
    let place = order.indexOf(at);
    if (place < 0) {
      // From where the reader is: the first entity after what has the focus, or the first of all.
      const here = main.contains(document.activeElement) ? document.activeElement : main;
      const later = here.DOCUMENT_POSITION_FOLLOWING;
      place = order.findIndex((mark) => here.compareDocumentPosition(mark) & later);
      place = step > 0 ? place - 1 : place;
    }
    pick(order[(place + step + order.length) % order.length]);
  }

  form.addEventListener("input", applySoon);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", ({ target }) => {
    const name = target.dataset.check || target.dataset.clear;
    if (!name) return;
    for (const box of form.elements) {
      if (box.name === name) box.checked = Boolean(target.dataset.check);
    }
    apply();
  });
  get("next").addEventListener("click", () => go(1));
  get("previous").addEventListener("click", () => go(-1));
  for (const id of ["unfold", "fold"]) {
    get(id).addEventListener("click", () => {
      for (const { node } of notes) {
        node.open = id === "unfold" && (node.open || !node.classList.contains("long"));
      }
    });
  }
  main.addEventListener("click", ({ target }) => pick(target.closest("mark:not(.off)")));
  main.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n" || event.key === "p") go(event.key === "n" ? 1 : -1);
    if (event.key === "Escape") pick(null);
  });
  wide.addEventListener("change", () => (get("panel").open ||= wide.matches));
  get("panel").open = wide.matches;
  apply();
});
