"""How full a file system is, and from where on that is too full.

The watch that holds starts (``reconcile.disk``) and the doctor (``doctor.disk``) both come here: what the one acts
upon, the other one tells.
"""

from __future__ import annotations

from dataclasses import dataclass

AMPLE = 50 * 1024**3
"""However large a disk is, bytes free that are no danger.

At 1 GB/s, about what a fast disk takes, that is 50 s: time enough to see it twice (ten seconds apart) and to stop who
writes. An instance may hold less than half of it by default.
"""
NEAR = 0.05
"""So much short of the mark, as a share of the disk and of :data:`AMPLE`, is close to it."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is left on a file system, in bytes.

    Attributes:
        free: what an ordinary user may still write.
    """

    total: int
    free: int

    @property
    def used(self) -> float:
        """Share in use, 0 to 1."""
        return 1 - self.free / self.total if self.total else 0.0

    def is_full(self, mark: float) -> bool:
        """Tell whether it is too full: past the mark (a share in use, 0 to 1), and without ample space all the same."""
        return self.used >= mark and self.free < AMPLE

    def is_nearly_full(self, mark: float) -> bool:
        """Tell whether it is too full, or close to that; what was too full counts as such until it is not even that."""
        return self.used >= mark - NEAR and self.free < AMPLE * (1 + NEAR)
