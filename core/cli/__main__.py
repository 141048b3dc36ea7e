"""`python -P -m core.cli`: the commands where no script is installed in the PATH, as in a unit of systemd."""

from core.cli.main import main

if __name__ == "__main__":
    main()
