"""The families of networks that are shipped, a file each: from hyperparameters to a Keras model that returns logits."""
