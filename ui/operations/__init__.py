"""What a person can do, by subject: `ui.platform.Platform` is all of these together."""
