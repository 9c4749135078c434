function draw() {
  gauge();
  forest();
  scenes();
  const costly = costs(); // both, whatever the other finds
  $("training").hidden = !curves() && !costly;
}

verdict();
arms();
bars();
seedsAndClasses();
checklist();
helps();
confusion();
chips();
origins();
draw();
addEventListener("resize", draw);
