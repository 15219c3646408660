"""What is trained: data, the course network, training and evaluation. Knows no Ray."""
