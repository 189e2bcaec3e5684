"use strict";
(() => {
  // Without this script a picture enlarges by its anchor alone; here it keeps place, focus and history as they were.
  const sheets = [...document.querySelectorAll(".zoom")];
  let open = null;
  let from = null;

  const show = (sheet) => {
    if (open) open.classList.remove("open");
    open = sheet;
    open.classList.add("open");
    open.focus({ preventScroll: true });
  };
  const close = () => {
    if (open) open.classList.remove("open");
    open = null;
    if (from) from.focus({ preventScroll: true });
    from = null;
  };
  // Pictures follow each other in the order of the page, and only those that can be clicked there.
  const step = (by) => {
    const next = sheets.indexOf(open) + by;
    if (next >= 0 && next < sheets.length) show(sheets[next]);
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    if (link.dataset.zoom) {
      event.preventDefault();
      from = link;
      show(document.getElementById(link.dataset.zoom));
    } else if (open && (link.classList.contains("shade") || link.classList.contains("close"))) {
      event.preventDefault();
      close();
    }
  });

  // A tip that would leave the page opens to the other side.
  const turn = (event) => {
    const tile = event.target.closest(".tile");
    const tip = tile && tile.querySelector(".tip");
    if (!tip || tile.classList.contains("flip")) return;
    tile.classList.toggle("flip", tip.getBoundingClientRect().right > document.documentElement.clientWidth);
  };
  document.addEventListener("pointerover", turn);
  document.addEventListener("focusin", turn);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (open && event.key === "Tab") {
      const stops = [...open.querySelectorAll(".sheet a")];
      const at = stops.indexOf(document.activeElement) + (event.shiftKey ? -1 : 1);
      event.preventDefault();
      stops[(at + stops.length) % stops.length].focus();
    } else if (open && event.key === "Escape") close();
    else if (open && event.key === "ArrowRight") step(1);
    else if (open && event.key === "ArrowLeft") step(-1);
    else {
      const box = document.getElementById({ m: "whole", c: "code", t: "calls" }[event.key.toLowerCase()] ?? "");
      if (box) box.click();
    }
  });
})();
