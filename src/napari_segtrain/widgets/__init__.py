"""The docks of napari: train and predict. The only room that knows napari and Qt."""
