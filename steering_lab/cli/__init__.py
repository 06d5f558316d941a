"""The command line: one module per command, and what they share.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

from steering_lab.cli.commands import main as main
