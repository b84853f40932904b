"""LeRobot's own policies, each in LeRobot's environment: `server` runs there, `policy` starts it and speaks with it."""
