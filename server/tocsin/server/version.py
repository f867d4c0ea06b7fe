"""Which tocsin this is."""


def number() -> str:
    """Version of the installed distribution."""
    from importlib.metadata import version as installed

    return installed("tocsin")


def version() -> str:
    """Version of the installed distribution, and of Python."""
    import platform

    return f"tocsin {number()} (Python {platform.python_version()})"
