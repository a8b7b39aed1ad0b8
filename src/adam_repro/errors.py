"""What is shown to a user as a message, without a traceback."""

from __future__ import annotations

import errno
import traceback

NO_ROOM = {  # each with its remedy
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room within your quota there",
    errno.EROFS: "make it writable",
}
UNUSABLE = {  # of a file that has a name: without one they are of something else, such as another user's process
    errno.EACCES: "give yourself the right to it, or another place",
    errno.EPERM: "give yourself the right to it, or another place",
    errno.ENOTDIR: "a part of that path is a file, so give one of folders",
    errno.EEXIST: "a file is there where a folder should be, so move it away",
}


class UserError(Exception):
    """Something the user can put right: in one paragraph, what was given, what is allowed, the remedy.

    Entry points print the message and leave with exit status 1.
    """


class NothingToDo(UserError):
    """What was asked for has no meaning for this figure: where all are asked for, the others go on."""


def of_the_disk(error: BaseException) -> str | None:
    """What to tell the user of an ``error`` of a disk that is full or of a path that cannot be used; None for any other
    error."""
    if not isinstance(error, OSError):
        return None
    remedies = NO_ROOM | UNUSABLE if error.filename else NO_ROOM
    if (remedy := remedies.get(error.errno or 0)) is None:
        return None
    place = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror}{place}: {remedy}. What is done is kept, and the same command goes on."


def in_full(error: BaseException) -> str:
    """What to tell of an ``error`` that ended a run: a message where the user can put it right, else the traceback."""
    return (
        str(error) if isinstance(error, UserError) else of_the_disk(error) or "".join(traceback.format_exception(error))
    )
