"""An exported classifier behind HTTP: a page to try it on, and what programs ask. See `transfer.serving.command`."""
