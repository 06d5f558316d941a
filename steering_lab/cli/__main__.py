"""`python -m steering_lab.cli`."""

from steering_lab.cli.commands import main

main()
