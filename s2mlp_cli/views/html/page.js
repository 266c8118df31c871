// Tables sort by a click on a heading, each group of rows by itself; without scripts they stay as
// they were measured.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      for (const body of table.tBodies) sort(body, column, order === "ascending" ? 1 : -1);
    });
  });
}

function sort(body, column, sign) {
  const own = [...body.rows].filter((row) => !row.classList.contains("group"));
  const rows = own.map((row) => [key(row.cells[column]), row]);
  rows.sort(([a], [b]) => (a === null) - (b === null) || sign * ordered(a, b));
  body.append(...rows.map(([, row]) => row));
}

// A number where the cell has one, else its text; null for an empty cell, which goes last.
function key(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.textContent.trim() || null;
}

function ordered(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}
