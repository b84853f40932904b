"""Published reference scores (data, with sources). Runs are written below ``results/`` of the working directory and not tracked."""
