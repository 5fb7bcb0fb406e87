"""Files that outlive a crash, locks that do not, and a store for hosts that share no disk."""
