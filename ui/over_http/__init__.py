"""The operations over HTTP, by subject: `ui.remote.Remote` is all of these together."""
