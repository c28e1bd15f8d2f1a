#!/bin/sh
# `make demo`: the whole job without any key. A model server that plays a script takes the model's place; everything else
# is real: the system, a repository, Claude Code in a container. All of it lies in .demo/, `make down` removes it.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/system.sh
. scripts/system.sh
use_demo_system

NETWORK=cc-orchestrator
INSTANCE=demo
BRANCH=demo/greeting
REPOSITORY=$DEMO/hello
DEADLINE_SECONDS=120

cco() { .venv/bin/cco "$@"; }

prepare

if [ -z "${CCO_PORT:-}" ] && [ -n "$(docker ps --quiet --filter label=com.docker.compose.project=cc-orchestrator --filter label=cc-orchestrator.system)" ]; then
  fail "the system is running already and has the dashboard's port; 'make down' stops it, or give the demo another port: CCO_PORT=8081 make demo"
fi

# The controller makes this network too; the demo's model server needs its address before that.
if ! docker network inspect "$NETWORK" >/dev/null 2>&1; then
  docker network create --driver bridge --label cc-orchestrator.network=instances \
    --opt com.docker.network.bridge.enable_icc=false "$NETWORK" >/dev/null
fi
DEMO_GATEWAY=$(docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' "$NETWORK")
export DEMO_GATEWAY

(umask 077 && mkdir -p "$CCO_STATE_DIR")
# Not a key of anybody: the scripted model asks for none, the client wants to see one.
unset CLAUDE_CODE_OAUTH_TOKEN ANTHROPIC_AUTH_TOKEN
export ANTHROPIC_API_KEY=the-demo-needs-no-key-at-all
save_credentials
start

if [ ! -d "$REPOSITORY" ]; then
  say "making a throw-away repository: $REPOSITORY"
  git init --quiet --initial-branch main "$REPOSITORY"
  printf '# Hello\n\nA repository to play with.\n' >"$REPOSITORY/README.md"
  git -C "$REPOSITORY" add README.md
  git -C "$REPOSITORY" -c user.name=demo -c user.email=demo@localhost commit --quiet --message "Begin"
fi
cco init "$REPOSITORY" --name hello --no-manifest

if ! cco instance get "$INSTANCE" >/dev/null 2>&1; then
  say "declaring one instance: it edits a file, commits, and waits for the next prompt"
  cco instance spawn "$INSTANCE" --repository hello --branch "$BRANCH" --permission-mode bypassPermissions --wait \
    --prompt "Write a short greeting into hello.txt and commit it."
fi

say "waiting for its commit on branch $BRANCH"
end=$(($(date +%s) + DEADLINE_SECONDS))
until [ "$(git -C "$REPOSITORY" rev-list --count "main..$BRANCH" 2>/dev/null || echo 0)" -gt 0 ]; do
  [ "$(date +%s)" -lt "$end" ] || fail "no commit came within $DEADLINE_SECONDS s; CCO_STATE_DIR=$CCO_STATE_DIR $PWD/.venv/bin/cco describe instance $INSTANCE tells why"
  sleep 0.5
done

cat >"$DEMO/cco" <<TEXT
#!/bin/sh
# The cco command, pointed at the demo's system.
CCO_STATE_DIR='$CCO_STATE_DIR' exec '$PWD/.venv/bin/cco' "\$@"
TEXT
chmod +x "$DEMO/cco"

git -C "$REPOSITORY" --no-pager log --oneline --decorate "$BRANCH"
cat <<TEXT

The demo is running. Claude Code has committed on branch $BRANCH and waits for the next prompt. Look at

  the dashboard         $(dashboard)
  its terminal          .demo/cco instance attach $INSTANCE      (leave with Ctrl-b d)
  its commit            git -C .demo/hello log -p main..$BRANCH
  its state             .demo/cco instance list
  a next prompt         .demo/cco instance send $INSTANCE "STEP write poem.txt Roses are red STEP say Done."

Remove all of it: make down
TEXT
