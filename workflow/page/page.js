"use strict";

// Tables: a click on a head sorts by the number in front of each cell, or by its text.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[head.cellIndex].textContent;
    const number = (text) => parseFloat(text.replaceAll(",", "").replace("−", "-"));
    const rows = [...body.rows].sort((first, second) => {
      const [a, b] = [number(value(first)), number(value(second))];
      if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1; // what is no number comes last, both ways
      const order = isNaN(a) ? value(first).localeCompare(value(second)) : a - b;
      return down ? -order : order;
    });
    body.append(...rows);
  });
}

// What scrolls sideways is reached by the keyboard; what does not is passed over. Without scripts all of it is reached.
const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const hidden = target.scrollWidth - target.clientWidth > 1 || target.scrollHeight - target.clientHeight > 1;
    target.tabIndex = hidden ? 0 : -1; // without it, what has the focus would lose it
  }
});
for (const box of document.querySelectorAll(".drawing, .scroll")) scrolling.observe(box);
