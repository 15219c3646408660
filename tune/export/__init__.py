"""Runs for other tools: Optuna, TensorBoard, MLflow."""
