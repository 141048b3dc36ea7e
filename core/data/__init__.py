"""What is learnt from: examples, rendering, length rules. Given a tokenizer, this package never loads one."""
