"""What one set of draws knows of single examples and components, as a kind of measurement."""

from llc_lightning.measure.posterior.rows import PosteriorMeasurement as PosteriorMeasurement
