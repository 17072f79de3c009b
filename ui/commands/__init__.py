"""The commands of `reprise`, by what they are about."""
