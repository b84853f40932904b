"""What is to be run: the settings, checked, and the list of episodes that follows from them."""
