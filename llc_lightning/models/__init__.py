"""Networks to train and measure, as LightningModules with a loss for every example."""
