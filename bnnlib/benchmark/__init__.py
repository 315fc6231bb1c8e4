"""The packed network's speed beside what a user would pick instead: peers, yardsticks, and the record of one run."""
