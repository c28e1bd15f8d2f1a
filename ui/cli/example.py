"""The manifest that ``init`` writes: a first instance and every field, explained where it stands."""

from __future__ import annotations

FILE_NAME = "cc-orchestrator.yaml"

_TEXT = """\
# Claude Code instances for this repository.
#
#   cco apply -f {file}     make it so (again and again: only changes are acted on)
#   cco diff -f {file}      what would change
#   cco get instances                    how they are
#   cco delete -f {file}    remove them; branches and snapshots stay
#
# Several instances: separate them with a line of three dashes.

kind: Instance
metadata:
  name: {name:<24}  # 1 to 40 lower-case letters, digits and '-'
  # labels: {{team: web}}           # cco get instances -l team=web
spec:
  repository: {repository}
  # branch: {branch:<20}  # the branch Claude works on; default: the instance's name
  # base_branch: main             # where a new branch starts; default: the repository's base branch
  # prompt: |                     # given once, at the first start
  #   Read README.md and write down in NOTES.md what is missing in it. Commit.

  # permission_mode: acceptEdits  # manual | acceptEdits | plan | bypassPermissions
  # model: opus                   # default: Claude Code's own
  # args: []                      # extra arguments for claude

  # resources:                    # enforced by the kernel; changing them needs no restart
  #   cpus: 1
  #   memory: 2Gi
  #   pids: 512
  #   disk: 20Gi                  # worktree, its git directory and HOME; more than that stops the instance

  # env: {{CI: "true"}}             # not for secrets
  # runtime: docker               # docker | process (no isolation); fixed once made
  # image: cc-orchestrator/instance:0.1.0
  # layout: default               # of the tmux session
  # operating_mode: Running       # Running | Suspended | Stopped
  # restart_policy: Always        # Always | OnFailure | Never
  # worktree_policy: Delete       # Delete | Retain: what a delete does with the worktree folder
"""


def example_manifest(repository: str, name: str = "first") -> str:
    """Return the text for a repository's registered name and the name of a new instance."""
    return _TEXT.format(file=FILE_NAME, repository=repository, name=name, branch=f"feature/{name}")
