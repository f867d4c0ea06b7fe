"""`python -m tocsin.server` is `tocsin`."""

from tocsin.server.cli import main

main()
