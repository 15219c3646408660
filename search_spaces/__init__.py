"""What may vary: declared, validated and fingerprinted search spaces. Standard library only."""
