"""`python -m meter`: the command line."""

from meter.cli import main

main()
