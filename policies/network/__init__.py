"""What adapters of networks share: finding a checkpoint, its files and weights, devices, and the way from a recipe to actions."""
