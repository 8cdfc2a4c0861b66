// Every column sorts by a click on its head: by the first number of a cell, texts by the alphabet, what is unknown last.
"use strict";
const number = (text) => {
  const found = text.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, "").match(/[-+]?\d+(\.\d+)?/);
  return found ? Number(found[0]) : NaN;
};
const sort = (table, column, descending) => {
  const body = table.tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const numeric = column > 0;
  const key = new Map([...body.rows].map((row) => [row, numeric ? number(text(row)) : text(row)]));
  const unknown = (row) => (numeric ? Number.isNaN(key.get(row)) : false);
  const order = (a, b) => (numeric ? key.get(a) - key.get(b) : key.get(a).localeCompare(key.get(b)));
  const rows = [...body.rows].sort((a, b) => unknown(a) - unknown(b) || (unknown(a) ? 0 : order(a, b) * (descending ? -1 : 1)));
  body.append(...rows);
};
for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const now = cell.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : column > 0; // of numbers the largest first
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}
