"""``python -m s2mlp_cli`` is the same program as ``s2mlp`` (torchrun needs a module)."""

from s2mlp_cli.cli import main

if __name__ == "__main__":
    main()
