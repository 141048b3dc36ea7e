"""The training step: what a forward and a backward pass compute and keep, made to hold as little memory as it can.

Everything here is plain torch and runs on every device. The layers compute what PEFT's and transformers' own do, to the
rounding of the dtype; only what they keep for the backward pass differs.
"""
