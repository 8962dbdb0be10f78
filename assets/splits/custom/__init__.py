"""Split functions of your own: a module each, chosen by `split: {strategy: custom, function: NAME}`."""
