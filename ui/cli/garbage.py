"""When the garbage collector runs: not while the program is loaded, from the command on as usual.

Loading makes a hundred thousand objects that all stay. Going through them while they come, and once more at the end,
is a tenth of the time of a short command (https://docs.python.org/3/library/gc.html#gc.freeze).
"""

from __future__ import annotations

import gc


def collect_later() -> None:
    """Collect nothing until :func:`collect_from_here`."""
    gc.disable()


def collect_from_here() -> None:
    """Leave what was loaded alone for good and collect what comes; nothing to do where nothing was put off."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
