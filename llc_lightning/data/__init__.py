"""Examples to train and measure on: tasks, the order in which they come, LightningDataModules."""
