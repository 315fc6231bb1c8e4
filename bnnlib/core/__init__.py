"""What every part builds on, with nothing of ours below it: errors, files, fingerprints, the state of a process."""
