"""The one error that says: what was asked cannot be done, and this is the way out."""


class Refusal(ValueError):  # noqa: N818  what it is, not what went wrong
    """Input that is refused: what came, the rule, the way out, in one sentence.

    Raised by whoever knows the rule. A command shows it as it stands and ends with exit code 2; a
    run ends in the state *Refused*. Everything else that is raised is a fault: it keeps its
    traceback, and the exit code is 1.

    >>> raise Refusal("frames=0: a clip has at least one frame; ask for 1 or more.")
    Traceback (most recent call last):
    core.refusal.Refusal: frames=0: a clip has at least one frame; ask for 1 or more.

    Attributes:
        unnamed: The same for pages and logs that others read, where the words name a person;
            empty where they name nobody.

    >>> Refusal("sub-07: no brain; ask its owner.", unnamed="1 person: no brain; ask.").unnamed
    '1 person: no brain; ask.'
    """

    unnamed: str = ""

    def __init__(self, *words: object, unnamed: str = "") -> None:
        """Say it, and to those who read a run's page and log without the people it names."""
        super().__init__(*words)
        self.unnamed = unnamed
