"""What is stored of bake-offs: their answers and scores read, scored again, and traced to the trainings behind them."""
