"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const blur = document.getElementById("blur");

  // Theme: the system's, until the reader chooses. Storage may be refused for a file.
  const remembered = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("ecso-theme", value);
      return localStorage.getItem("ecso-theme");
    } catch {
      return null;
    }
  };
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const showTheme = () => theme.setAttribute("aria-pressed", String(isDark()));
  const before = remembered();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  showTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    showTheme();
  });

  // Pictures: a press shows one, a second press or Esc blurs again.
  const shown = () => document.querySelectorAll('button.picture[aria-pressed="true"]');
  const update = () => {
    blur.hidden = shown().length === 0;
  };
  const blurAll = () => {
    for (const picture of shown()) picture.setAttribute("aria-pressed", "false");
    update();
  };
  document.addEventListener("click", (event) => {
    const picture = event.target.closest("button.picture");
    if (!picture) return;
    picture.setAttribute("aria-pressed", String(picture.getAttribute("aria-pressed") !== "true"));
    update();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") blurAll();
  });
  blur.addEventListener("click", blurAll);

  // The section in view is marked in the navigation.
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const visible = new Set();
  const mark = () => {
    const now = [...links.keys()].find((id) => visible.has(id));
    for (const [id, link] of links) {
      if (id === now) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) visible.add(entry.target.id);
        else visible.delete(entry.target.id);
      }
      mark();
    },
    { rootMargin: "-15% 0px -70% 0px" },
  );
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
