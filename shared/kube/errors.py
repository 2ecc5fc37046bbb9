"""What the API server may answer instead of an object, in the project's two words for failure."""

from shared.errors import Conflict, Never, RetryLater


class AlreadyExists(Conflict):
    """An object of that name is there already (409 to a create)."""


class Refused(Never):
    """The API server will never accept this request (400, 405, 413, 415, 422); its own message is the text."""


class Forbidden(RetryLater):
    """Our rights don't suffice (403, 401). Rights may still be granted, so later is worth a try."""

    def __init__(self, message: str, *, delay: float = 10.0) -> None:
        super().__init__(message, delay=delay)


class Gone(RetryLater):
    """The object to change isn't there any more (404), or its kind isn't served."""


class Expired(RetryLater):
    """The version asked for is too old, or from another time than the server's (410): list again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, delay=0.0)
