"""The controller's side of the agents: what they report (``report``) and how they are reached (``link``)."""

from .link import AgentLinks
from .protocol import Agents, Heard
from .report import AgentConfig, InputAcknowledgement, Report

__all__ = ["AgentConfig", "AgentLinks", "Agents", "Heard", "InputAcknowledgement", "Report"]
