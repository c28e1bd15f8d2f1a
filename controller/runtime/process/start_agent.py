"""``python -I start_agent.py FOLDERS run ...``: run the package ``agent`` that lies in the first of the folders.

The others, separated as in PATH, hold its packages where this Python has them not. It is ``python -m agent``, but
without PYTHONPATH, which Claude and everything it runs would inherit.
"""

from __future__ import annotations

import os
import runpy
import sys

if __name__ == "__main__":
    first, *others = sys.argv.pop(1).split(os.pathsep)
    sys.path[:] = [first, *sys.path, *others]
    runpy.run_module("agent", run_name="__main__", alter_sys=True)
