"""The subject `scenes-cnn`: a small convolutional network really trained on scenes.

`backend` measures its units and is what the server loads; `network` is the network; `train` makes the weights that
are shipped beside this file; `probe` asks which concept each unit responds to. Importing the package, or `backend`,
imports no torch: that happens when a network is loaded.
"""
