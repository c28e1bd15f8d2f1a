"""Workspaces: a git worktree for people and a private git directory for the agent."""
