"""How it is searched: the only home of Ray and Optuna. `from ray import tune as ray_tune`; plain `tune` is us."""
