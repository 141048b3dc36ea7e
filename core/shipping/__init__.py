"""From a GGUF file to a server that renders what was trained: which chat template it is given, and the Modelfile beside it."""
