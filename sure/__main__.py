"""`python -m sure` does what `sure` does."""

from sure.cli import main

if __name__ == "__main__":
    main()
