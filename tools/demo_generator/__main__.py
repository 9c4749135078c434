"""`python -m tools.demo_generator`."""

from tools.demo_generator.train import main

main()
