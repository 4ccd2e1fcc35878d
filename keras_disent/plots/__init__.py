"""Pictures of latents; charts of scores are in `charts`, those of causal models in `causal`."""

from keras_disent.plots.latents import poster as poster
from keras_disent.plots.latents import traversal_frames as traversal_frames
from keras_disent.plots.pictures import as_array as as_array
from keras_disent.plots.pictures import as_png as as_png
from keras_disent.plots.pictures import beside as beside
from keras_disent.plots.pictures import check_image_path as check_image_path
from keras_disent.plots.pictures import contact_sheet as contact_sheet
from keras_disent.plots.pictures import is_animation as is_animation
from keras_disent.plots.pictures import mosaic as mosaic
from keras_disent.plots.pictures import save as save
from keras_disent.plots.pictures import save_animation as save_animation
from keras_disent.plots.pictures import save_image as save_image
from keras_disent.plots.pictures import traversals as traversals
