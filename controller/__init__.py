"""The controller: desired state in, world changed, status out.

The only part of the system that touches Docker, git, tmux and processes. Read it in this order:
``resources`` (the nouns), ``reconcile.plan`` (the decision), ``reconcile.reconciler`` (one pass),
``reconcile.loop`` (who calls it), then ``workspace`` and ``runtime`` (the two outside worlds).
"""
