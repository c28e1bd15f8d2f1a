"""The loop: ``sources`` put names on a ``workqueue``; ``loop`` takes them off and calls a reconciler.

One pass of an instance is ``reconciler.InstanceReconciler.reconcile``: observe, ``plan``, act, observe again,
``conditions``, update status. The decision (``plan``) and its report (``conditions``) are pure functions.
"""
