/* Copyright (c) 2026, virtaudit contributors
   GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later
*/
"use strict";
(() => {
  // So many rows of a search are shown at once.
  const LIMIT = 500;
  const one = (id) => document.getElementById(id);
  const form = one("filter"), hits = one("hits"), groups = one("groups"), said = one("said");
  const columns = {
    grant: { host: 0, vm: 1, mac: 2, network: 3 },
    finding: { severity: 0, host: 2, vm: 3, mac: 4 },
  };
  const index = {};
  const order = new Intl.Collator("en", { numeric: true }).compare;

  // Read the rows once, and only when somebody asks.
  const rowsOf = (kind) => index[kind] ??= Array.from(document.querySelectorAll(`tr.${kind}`), (row) => {
    const cells = Array.from(row.cells, (cell) => cell.textContent.trim().toLowerCase());
    return { row, cells, text: cells.join("\n") };
  });
  const matching = (kind, asked) => rowsOf(kind).filter((each) =>
    Object.entries(asked).every(([name, value]) => {
      if (name === "any") return each.text.includes(value);
      const at = columns[kind][name];
      // A NIC has no severity, and a finding names its network, if at all, in its message.
      if (at === undefined) return kind === "grant" || each.text.includes(value);
      return each.cells[at].includes(value);
    }));

  function showGrants(asked, sort) {
    const wanted = Object.keys(asked).some((name) => name !== "severity") || sort !== "";
    hits.hidden = !wanted;
    groups.hidden = wanted;
    hits.replaceChildren();
    if (!wanted) return null;
    const found = matching("grant", asked);
    if (sort !== "") {
      const at = Math.abs(Number(sort)), sign = sort.startsWith("-") ? -1 : 1;
      found.sort((a, b) => sign * order(a.cells[at], b.cells[at]));
    }
    const first = groups.querySelector("table");
    if (first !== null) {
      const table = first.cloneNode(false);
      table.append(document.createElement("caption"), first.tHead.cloneNode(true), document.createElement("tbody"));
      table.caption.textContent = "NICs that were asked for";
      for (const each of found.slice(0, LIMIT)) table.tBodies[0].append(each.row.cloneNode(true));
      hits.append(table);
    }
    return found.length;
  }

  function showFindings(asked) {
    const wanted = Object.keys(asked).length > 0;
    const found = wanted ? new Set(matching("finding", asked).map((each) => each.row)) : null;
    for (const group of document.querySelectorAll("details.group")) {
      let left = 0;
      for (const row of group.querySelectorAll("tr.finding")) {
        row.hidden = wanted && !found.has(row);
        left += !row.hidden;
      }
      group.hidden = left === 0;
      if (wanted && left > 0 && left <= LIMIT) group.open = true;
    }
    return wanted ? found.size : null;
  }

  function apply() {
    const asked = {};
    let sort = "";
    for (const [name, value] of new FormData(form)) {
      if (name === "sort") sort = value;
      else if (value.trim() !== "") asked[name] = value.trim().toLowerCase();
    }
    const nics = showGrants(asked, sort), findings = showFindings(asked);
    const words = [];
    if (nics !== null) words.push(`${nics} NICs` + (nics > LIMIT ? `, the first ${LIMIT} are shown` : ""));
    if (findings !== null) words.push(`${findings} findings`);
    said.textContent = words.join("; ");
  }

  function sortTable(head) {
    const table = head.closest("table"), up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[head.cellIndex].textContent.trim();
    const rows = Array.from(table.tBodies[0].rows, (row) => [key(row), row]);
    rows.sort((a, b) => (up ? 1 : -1) * order(a[0], b[0]));
    table.tBodies[0].append(...rows.map((each) => each[1]));
  }

  // A link to what is folded unfolds it.
  function unfold() {
    const target = one(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  }

  document.documentElement.classList.add("js");
  form.hidden = false;
  let waiting = 0;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 120); });
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const head = event.target.closest("table.sortable thead th");
    if (head !== null) sortTable(head);
  });
  addEventListener("hashchange", unfold);
  if (location.hash) unfold();
})();
