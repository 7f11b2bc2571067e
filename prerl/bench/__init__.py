"""How fast, and against what. `prerl.bench.measure` measures, each figure in a process of its own; `prerl.bench.report`
starts them side by side and prints ratios."""
