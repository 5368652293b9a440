"""The two errors that the course raises on purpose."""


class CourseError(Exception):
    """Something the user can mend; the message says what was expected and what to do."""


class DataError(CourseError, ValueError):
    """A file or an array that is not what it should be."""
