"""What a person touches: the command line (``ui.cli``) and the dashboard (``ui.web``). Speaks HTTP only."""
