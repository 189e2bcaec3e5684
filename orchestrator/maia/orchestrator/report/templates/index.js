"use strict";
(() => {
  const body = document.querySelector("#units tbody");
  const rows = [...body.rows].filter((row) => row.cells.length > 1);
  const order = new Intl.Collator("en", { numeric: true });
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  const sort = (head, column, kind) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    rows.sort((a, b) => sign * (kind === "number"
      ? Number(value(a, column)) - Number(value(b, column))
      : order.compare(value(a, column), value(b, column))));
    body.append(...rows);
  };

  document.querySelectorAll("th[data-sort]").forEach((head) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, head.cellIndex, head.dataset.sort));
  });

  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.closest("[hidden]").hidden = false;
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = words.length ? `${count} of ${rows.length}` : "";
  });
})();
