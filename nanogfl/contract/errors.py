"""The one exception for what a user can mend."""


class UserError(Exception):
    """One sentence: what was expected, what came, what to do. The CLI prints it and exits with code 2."""


def missing_extra(package: str, extra: str) -> UserError:
    """The sentence for a package that belongs to an extra which is not installed."""
    return UserError(
        f"this command needs the package '{package}', which is not installed: pip install 'nanogfl[{extra}]'"
    )
