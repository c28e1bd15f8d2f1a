"""Runtimes: where workloads live. One small protocol, found by entry point ``cc_orchestrator.runtimes``."""
