"""``python -I start_agent.py FOLDER run ...``: run the package ``agent`` that lies in FOLDER, as ``python -m agent``.

Instead of PYTHONPATH, which Claude and everything it runs would inherit.
"""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.path.insert(0, sys.argv.pop(1))
    runpy.run_module("agent", run_name="__main__", alter_sys=True)
