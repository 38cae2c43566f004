"""The dynamics app: console script, configurations, benchmark recipes, results."""
