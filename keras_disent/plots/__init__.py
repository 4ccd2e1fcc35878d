"""Pictures of latents; charts of scores are in `charts`, those of causal models in `causal`."""

from keras_disent.plots.pictures import as_array as as_array
from keras_disent.plots.pictures import as_png as as_png
from keras_disent.plots.pictures import beside as beside
from keras_disent.plots.pictures import contact_sheet as contact_sheet
from keras_disent.plots.pictures import mosaic as mosaic
from keras_disent.plots.pictures import save as save
from keras_disent.plots.pictures import traversals as traversals
