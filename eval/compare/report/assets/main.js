function switchTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
}

function draw() {
  gauge();
  forest();
}

verdict();
arms();
bars();
seedsAndClasses();
confusion();
chips();
origins();
draw();
$("theme").addEventListener("click", switchTheme);
addEventListener("resize", draw);
