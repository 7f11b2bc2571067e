"""Reinforcement learning in pre-train space (arXiv 2604.14142), reproduced end to end."""
