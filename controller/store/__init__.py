"""The store: desired state and what was seen of it, in SQLite.

``store`` is the front; ``objects`` is the heart (what instances and repositories share); ``changes`` is the log
that watchers follow; ``database`` is the only module that knows SQLite; ``migrate`` runs at open; ``fence`` stops a
controller that was overtaken. No other part of the project imports SQLAlchemy.
"""

from .applied import Applied
from .changes import Change, EventChange, RevisionGone, Wishes
from .fence import Claim
from .integrity import Integrity
from .selector import Selector
from .store import Store

__all__ = ["Applied", "Change", "Claim", "EventChange", "Integrity", "RevisionGone", "Selector", "Store", "Wishes"]
