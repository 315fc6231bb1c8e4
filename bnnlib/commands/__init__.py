"""The commands of `bnn`, each a function with its options; `cli` lists them."""
