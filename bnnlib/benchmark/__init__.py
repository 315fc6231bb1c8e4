"""The packed network's speed beside what a user would pick instead: peers, timing, and the record of one run."""
