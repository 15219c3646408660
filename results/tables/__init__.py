"""Leaderboard, ties, comparison, status."""
