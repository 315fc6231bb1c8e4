"""What every part builds on, and nothing of ours below it: errors, files, fingerprints, the set-up of a process."""
