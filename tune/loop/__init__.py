"""The search loop; knows no Ray."""
