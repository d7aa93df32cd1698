"""`python -m meter` and the script `meter`: the command line."""

import sys


def main() -> None:
    """Run the command line; an interruption while it is being loaded is no error worth a traceback either."""
    try:
        from meter.cli import main as run  # noqa: PLC0415 -- takes a second on a small machine

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
