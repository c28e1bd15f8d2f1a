"""The nouns: one type per thing, the same on the wire, on the disk and in the loop.

Everything here is a pydantic model without I/O. ``spec`` belongs to the user, ``status`` to the controller,
``metadata`` to the store.
"""

from .conditions import Condition, ConditionStatus, find_condition, set_condition
from .event import Event, EventType
from .inputs import Input, InputState
from .instance import (
    LAYOUTS,
    DisplayState,
    Instance,
    InstanceDefaults,
    InstanceManifest,
    InstanceSpec,
    InstanceStatus,
    OperatingMode,
    PermissionMode,
    Resources,
    RestartPolicy,
    WorktreePolicy,
    display_state,
)
from .metadata import Kind, ManifestMetadata, Metadata
from .observed import (
    LastExit,
    Parking,
    RunMark,
    SessionState,
    SessionStatus,
    Transition,
    Usage,
    WorkloadStatus,
    WorkspaceStatus,
)
from .repository import Repository, RepositoryManifest, RepositorySpec, RepositoryStatus

__all__ = [
    "LAYOUTS",
    "Condition",
    "ConditionStatus",
    "DisplayState",
    "Event",
    "EventType",
    "Input",
    "InputState",
    "Instance",
    "InstanceDefaults",
    "InstanceManifest",
    "InstanceSpec",
    "InstanceStatus",
    "Kind",
    "LastExit",
    "ManifestMetadata",
    "Metadata",
    "OperatingMode",
    "Parking",
    "PermissionMode",
    "Repository",
    "RepositoryManifest",
    "RepositorySpec",
    "RepositoryStatus",
    "Resources",
    "RestartPolicy",
    "RunMark",
    "SessionState",
    "SessionStatus",
    "Transition",
    "Usage",
    "WorkloadStatus",
    "WorkspaceStatus",
    "WorktreePolicy",
    "display_state",
    "find_condition",
    "set_condition",
]
