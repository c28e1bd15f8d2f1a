"""Workspaces: a git worktree for people and a private git directory for the agent."""

from .workspaces import GitWorkspaces

__all__ = ["GitWorkspaces"]
