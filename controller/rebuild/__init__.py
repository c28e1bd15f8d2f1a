"""``python -m controller rebuild``: a new database from what stands beside the lost one.

``evidence`` looks at everything that still tells what was declared and changes nothing; ``database`` makes the new one
and puts it in its place; ``command`` is what a person sees of it. Running instances are not touched by any of it: they
keep their uids, so the next controller finds them where they are.
"""

from .command import rebuild

__all__ = ["rebuild"]
