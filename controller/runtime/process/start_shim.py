"""``python -I -S start_shim.py``: run ``shim`` of the package this file lies in, wherever that is installed.

Without ``site``: the shim needs nothing but the standard library and this package, and there is one per instance.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from controller.runtime.process.shim import main

    sys.exit(main())
