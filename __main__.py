"""``python -m lamina``: the command line."""

from .cli import main

main(prog_name="lamina")
