"""What leaves a run: an archive that can be compared elsewhere, a model card's results, and the form that LeRobot writes."""
