"""The one exception that is shown to a user as a message, without a traceback."""


class UserError(Exception):
    """Something the user can put right: in one paragraph, what was given, what is allowed, the remedy.

    Entry points print the message and leave with exit status 1.
    """
