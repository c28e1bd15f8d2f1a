"""Whatever agent and person do in whatever order: no commit is ever without a name, the branch moves as promised."""

from __future__ import annotations

import uuid
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.workspace.types import Unsaved, WorkspaceRef
from support.git_world import OWNERS, GitWorld, git_world


class AgentAndPerson(RuleBasedStateMachine):
    """Rules are what the two can do; the invariants are what is promised to both."""

    def __init__(self) -> None:
        super().__init__()
        self.world: GitWorld
        self.ref: WorkspaceRef
        self.stack = git_world(OWNERS[-1])

    @initialize()
    def start(self) -> None:
        self.world = self.stack.__enter__()
        self.ref = self.world.made()
        self.by_agent: set[str] = set()
        self.by_person: set[str] = set()
        self.start_commit = self.world.head(self.ref)
        self.count = 0

    def teardown(self) -> None:
        self.stack.__exit__(None, None, None)

    def _agent_head(self) -> str:
        head = self.world.agent(self.ref, "rev-parse", "HEAD")
        self.by_agent.add(head)
        return head

    def _empty_commit(self, *more: str) -> None:
        self.count += 1
        self.world.agent(self.ref, "commit", "-q", "--allow-empty", "-m", f"{self.count}", *more)
        self._agent_head()

    @rule()
    def agent_commits(self) -> None:
        self._empty_commit()

    @rule()
    def agent_amends(self) -> None:
        self._empty_commit("--amend")

    @rule(steps=st.integers(1, 2))
    def agent_resets(self, steps: int) -> None:
        self.world.agent(self.ref, "reset", "-q", "--hard", f"HEAD~{steps}", check=False)

    @rule(branch=st.sampled_from(["web", "side", "side2"]))
    def agent_switches(self, branch: str) -> None:
        self.world.agent(self.ref, "switch", "-q", branch, check=False)

    @rule(branch=st.sampled_from(["side", "side2"]))
    def agent_branches(self, branch: str) -> None:
        self.world.agent(self.ref, "switch", "-qc", branch, check=False)

    @rule(branch=st.sampled_from(["side", "side2"]))
    def agent_deletes_a_branch(self, branch: str) -> None:
        self.world.agent(self.ref, "branch", "-qD", branch, check=False)

    @rule()
    def agent_detaches(self) -> None:
        self.world.agent(self.ref, "switch", "-q", "--detach")

    @rule()
    def agent_stashes(self) -> None:
        self.count += 1
        self.world.agent_writes(self.ref, "README.md", f"{self.count}")
        self.world.agent(self.ref, "stash", "-q")
        self.by_agent.add(self.world.agent(self.ref, "rev-parse", "stash"))

    @rule()
    def agent_collects_garbage(self) -> None:
        self.world.agent(self.ref, "gc", "-q", "--prune=now")

    @rule()
    def agent_takes_the_persons_commit(self) -> None:
        self.world.agent(self.ref, "merge", "-q", "-m", "Merge", self.world.head(self.ref), check=False)
        self._agent_head()

    @rule()
    def person_commits(self) -> None:
        self.by_person.add(self.world.user_commits("web"))

    @rule()
    def person_merges_the_agents_branch(self) -> None:
        theirs = self.world.refs(f"refs/cco/instances/web/{self.ref.attempt}/heads/web")
        if theirs:
            other = next(iter(theirs.values()))
            commit = self.world.user("commit-tree", "-p", "web", "-p", other, "-m", uuid.uuid4().hex, "web^{tree}")
            self.world.user("update-ref", "refs/heads/web", commit)
            self.by_person.add(commit)

    @rule()
    def controller_collects(self) -> None:
        before = self.world.head(self.ref)
        brought = self.world.refs(f"refs/cco/instances/web/uids/{self.ref.uid}/brought")
        result = self.world.collect(self.ref)
        after = self.world.head(self.ref)
        assert result.head == after
        assert result.moved == (before != after)
        if before != after:
            assert not result.diverged
            assert after == self.world.agent(self.ref, "rev-parse", "refs/heads/web")
            forward = self.world.user("merge-base", "--is-ancestor", before, after, check=False) == "" and (
                self.world.user("rev-list", "--count", f"{after}..{before}") == "0"
            )
            assert forward or before in brought.values()
        assert not self._lost(self.by_agent)
        assert self.world.unsaved(self.ref) is Unsaved.NONE

    @rule()
    def agent_is_replaced(self) -> None:
        self.ref = WorkspaceRef(
            **{name: getattr(self.ref, name) for name in WorkspaceRef.__slots__ if name != "attempt"},
            attempt=self.ref.attempt + 1,
        )

    def _lost(self, commits: set[str]) -> set[str]:
        if not commits:
            return set()
        listed = self.world.user("rev-list", "--all").splitlines()
        return commits - set(listed)

    @invariant()
    def a_persons_commit_is_never_lost(self) -> None:
        if hasattr(self, "ref"):
            assert not self._lost(self.by_person)

    @invariant()
    def the_persons_branch_and_files_are_whole(self) -> None:
        if hasattr(self, "ref"):
            assert self.world.user("rev-parse", "main") == self.start_commit
            assert Path(self.ref.worktree, ".git").is_file()


AgentAndPerson.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAgentAndPerson = AgentAndPerson.TestCase
