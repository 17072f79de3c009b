"""Every door: command line, HTTP, web; and the wiring that alone chooses the engines."""
