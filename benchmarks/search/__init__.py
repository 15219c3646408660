"""A whole search against what people would use instead: stock Ray Tune with Optuna and Keras, and Optuna alone."""
