"""The one error a user meets."""


class UserError(SystemExit):
    """A user's mistake, said in one sentence: what is allowed, what was given, what to do.

    As a SystemExit, an uncaught one prints its sentence to standard error and ends the stage with
    exit status 1 and no traceback. A defect of ours is any other exception and keeps its traceback.
    """
