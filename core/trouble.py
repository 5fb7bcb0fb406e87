"""What is broken or away although nothing wrong was asked for, and what a person can do."""


class Trouble(RuntimeError):  # noqa: N818  what it is, not what went wrong
    """A model that is damaged, or a server that is away: what came, the rule, the way out.

    Raised by whoever knows the way out. A command shows it as it stands and ends with exit code
    1; a run fails, and may be tried again once it is mended.

    >>> raise Trouble("head: other bytes than its record names: it is damaged; copy it again.")
    Traceback (most recent call last):
    core.trouble.Trouble: head: other bytes than its record names: it is damaged; copy it again.
    """
