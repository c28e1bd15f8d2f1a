"""One module per command or group; each is imported only when its command is called (see ``ui.cli.deferred``)."""
