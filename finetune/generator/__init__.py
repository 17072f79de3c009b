"""Generator adapters: LoRA on a causal language model, trained through TRL in the format that is served."""
