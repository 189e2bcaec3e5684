"""What a host and its guest both know: frames, values, tool specs.

Both sides import this package, so it depends on protobuf and the standard library only, and on NumPy where a value is
an array. Nothing in it unpickles, evaluates or decodes what came over the channel.
"""
