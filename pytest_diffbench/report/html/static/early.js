// Before anything is drawn: scripts run, and which colours were chosen last.
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("diffbench-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing for files */ }
