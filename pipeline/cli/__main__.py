"""`python -m pipeline.cli`: the commands without the entry point of an installation."""

from pipeline.cli.main import main

main(prog_name="tallymark")
