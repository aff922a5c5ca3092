"use strict";
(() => {
  const finder = document.getElementById("finder");
  if (!finder) return;
  const text = document.getElementById("find");
  const choice = document.getElementById("choice");
  const said = document.getElementById("found");
  const batches = Array.from(document.querySelectorAll("details.batch"), (fold) => ({
    fold,
    wasOpen: fold.open,
    rows: Array.from(fold.querySelectorAll("tbody > tr"), (row) => ({ row, text: null })),
  }));
  const fits = (item, words, wanted) => {
    if (wanted && !item.row.classList.contains(wanted)) return false;
    if (!words.length) return true;
    if (item.text === null) item.text = item.row.textContent.toLowerCase();
    return words.every((word) => item.text.includes(word));
  };
  const find = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = choice.value;
    const asked = words.length > 0 || wanted !== "";
    let found = 0;
    let all = 0;
    for (const batch of batches) {
      const shown = batch.rows.map((item) => fits(item, words, wanted));
      const here = shown.filter(Boolean).length;
      batch.fold.hidden = here === 0;
      // Of thousands of targets few fit: what is folded away as a whole need not be touched.
      if (here > 0) batch.rows.forEach((item, place) => { item.row.hidden = !shown[place]; });
      batch.fold.open = asked ? found < 200 && here > 0 : batch.wasOpen;
      found += here;
      all += batch.rows.length;
    }
    said.textContent = asked ? `${found} of ${all} targets` : "";
  };
  let timer = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, 120);
  });
  choice.addEventListener("change", find);
  finder.hidden = false;
  find();

  // What is folded would be missing on paper. Thousands of targets are left as they are.
  const few = batches.length < 3;
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = few ? Array.from(document.querySelectorAll("details:not([open])")) : [];
    for (const fold of unfolded) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of unfolded) fold.open = false;
  });
})();
