"""The encodings and networks of tiny-cuda-nn in torch: its weights are used without a GPU."""
