// Filter and search of the discrepancies. Without it the table stands whole.
(function () {
  "use strict";
  var bar = document.querySelector(".filter");
  if (!bar) return;
  var rows = Array.prototype.slice.call(document.querySelectorAll(".items tbody tr"));
  var search = bar.querySelector("input");
  var selects = Array.prototype.slice.call(bar.querySelectorAll("select"));
  var shown = bar.querySelector("output");
  selects.forEach(function (select) {
    var values = {};
    rows.forEach(function (row) { values[row.getAttribute("data-" + select.name)] = true; });
    Object.keys(values).sort().forEach(function (value) {
      if (value) select.appendChild(new Option(value, value));
    });
    select.hidden = select.options.length < 3;
  });
  function apply() {
    var words = search.value.toLowerCase().split(/\s+/);
    var count = 0;
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      var fits = words.every(function (word) { return text.indexOf(word) >= 0; }) && selects.every(function (select) {
        return !select.value || row.getAttribute("data-" + select.name) === select.value;
      });
      row.hidden = !fits;
      count += fits ? 1 : 0;
    });
    shown.textContent = count === rows.length ? "all " + count : count + " of " + rows.length;
  }
  search.addEventListener("input", apply);
  selects.forEach(function (select) { select.addEventListener("change", apply); });
  bar.hidden = false;
  apply();
})();
