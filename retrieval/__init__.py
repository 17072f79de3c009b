"""Question to cited answer: search, generate, cite, verify, abstain; turns and feedback; the live adapter pointer."""
